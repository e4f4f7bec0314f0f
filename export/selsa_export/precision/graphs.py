"""The int8 graphs of a bundle: one for CPUs and, if the bundle has native graphs, one for TensorRT.

Both are calibrated on the same frames and keep the same blocks in fp32. The search on the graph for CPUs
chooses these blocks.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import onnx

from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import EngineFile, Manifest, Variant
from selsa_bundle.precision_report import DetectionAgreement, KeptLayers
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions
from selsa_export.int8.graph import WEIGHT_BITS
from selsa_export.int8.layers import layers_of, load_graph
from selsa_export.int8.native import native_tensors, quantize_native
from selsa_export.int8.ranges import calibrate
from selsa_export.int8.search import quantize_until
from selsa_export.precision.measure import Judge
from selsa_export.precision.plan import PrecisionPlan

INT8_NAME: Final = "frame.int8.onnx"
NATIVE_INT8_NAME: Final = "frame.native.int8.onnx"
# The sequence engine that TensorRT uses with an int8 frame engine: the first of these that the bundle has.
NATIVE_SEQUENCES: Final[tuple[Variant, ...]] = ("native-fp16", "native")


def add_int8(
    folder: Path, manifest: Manifest, plan: PrecisionPlan, judge: Judge, say: Callable[[str], None]
) -> tuple[Manifest, tuple[KeptLayers, ...]]:
    """Write the int8 graphs into a bundle's folder.

    Returns:
        The manifest with them, and the result of the search for each block.

    Raises:
        ExportError: the bundle's graph was not written by this exporter.
    """
    frames = [manifest.preprocess.prepare(frame) for frame in plan.frames.calibration]
    pair = manifest.engines["fp32"]

    def agreement(quantized: Any) -> DetectionAgreement:
        with TemporaryDirectory(prefix="selsa-int8-") as scratch:
            path = Path(scratch) / INT8_NAME
            onnx.save(quantized, str(path))
            options = RuntimeOptions(threads=plan.threads, precision="int8")
            engines = OnnxEngines(path, folder / pair["sequence"].file, manifest.dimensions, options)
            return judge.agreement(engines)

    model = load_graph(folder / pair["frame"].file)
    found = quantize_until(model, frames, agreement, plan.bounds, manifest.dimensions.tensors, say)
    onnx.save(found.model, str(folder / INT8_NAME))
    # The sequence engine stays fp32: it takes a tenth of the time, and it computes the scores.
    manifest = _with(folder, manifest, "int8", INT8_NAME, "fp32")
    manifest = manifest.model_copy(update={"weight_bits": WEIGHT_BITS})
    if "native" in manifest.engines:
        kept = [layer.group for layer in found.layers if layer.kept_fp32]
        _write_native(folder, manifest, kept, frames, say)
        sequence = next(variant for variant in NATIVE_SEQUENCES if variant in manifest.engines)
        manifest = _with(folder, manifest, "native-int8", NATIVE_INT8_NAME, sequence)
    return manifest, found.layers


def _write_native(
    folder: Path,
    manifest: Manifest,
    kept: Sequence[str],
    frames: Sequence[PreparedFrame],
    say: Callable[[str], None],
) -> None:
    """Write the int8 graph for TensorRT, calibrated again because its tensors differ from the CPU graph."""
    model = load_graph(folder / manifest.engines["native"]["frame"].file)
    say("int8 for TensorRT")
    tensors = sorted(native_tensors(model, layers_of(model)))
    calibration = calibrate(model, tensors, (), frames, say)
    onnx.save(quantize_native(model, kept, calibration.ranges), str(folder / NATIVE_INT8_NAME))


def _with(folder: Path, manifest: Manifest, variant: Variant, file: str, sequence: Variant) -> Manifest:
    tensors = manifest.engines["fp32"]["frame"].tensors
    frame = EngineFile(**StoredFile.of(folder / file).model_dump(), tensors=tensors)
    pair = {"frame": frame, "sequence": manifest.engines[sequence]["sequence"]}
    return manifest.model_copy(update={"engines": {**manifest.engines, variant: pair}})

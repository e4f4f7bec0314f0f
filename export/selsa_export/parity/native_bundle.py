"""The native graphs of a bundle and their comparison with torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from selsa_bundle.contract import ENGINES, EngineName
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import EngineFile, Variant
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions
from selsa_export.errors import ExportError
from selsa_export.graphs.precision import FloatPrecision
from selsa_export.graphs.write import write_native_graph
from selsa_export.parity.parity import ParityReference
from selsa_export.parity.report import EngineParity, Tolerance
from selsa_training.families import AnyDetector

VARIANTS: Final[dict[FloatPrecision, Variant]] = {"fp32": "native", "fp16": "native-fp16"}
FILES: Final[dict[FloatPrecision, str]] = {"fp32": "native", "fp16": "native.fp16"}
TOLERANCES: Final[dict[FloatPrecision, Tolerance]] = {
    "fp32": Tolerance(),
    # Differences above these bounds mean a wrong graph for any model. Untrained weights, whose scores are
    # close together, stayed within a quarter of each bound. Trained models differ far less.
    "fp16": Tolerance(score=0.25, corner=32, feature=0.05, unmatched=0.1),
}


def native_precisions(text: str) -> tuple[FloatPrecision, ...]:
    """`fp32,fp16` as precisions; `none` as none.

    Raises:
        ExportError: one is unknown.
    """
    if text.strip() == "none":
        return ()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in VARIANTS:
            raise ExportError(
                f"--native names {name!r}; allowed are {', '.join(VARIANTS)}, with commas between, or none"
            )
    return tuple(precision for precision in VARIANTS if precision in names)


def write_natives(
    detector: AnyDetector,
    folder: Path,
    precisions: Sequence[FloatPrecision],
    reference: ParityReference,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[dict[Variant, dict[EngineName, EngineFile]], dict[str, EngineParity]]:
    """Write the native graphs into a bundle's folder and compare them with torch.

    ONNX Runtime runs them on the CPU. It computes float16 graphs in float32 between casts. So for fp16 the
    comparison measures the rounding of weights and results, but not the summation on a GPU.

    Returns:
        The files for the manifest and the results for the parity report.

    Raises:
        ExportError: a graph differs from the model by more than its precision explains.
    """
    files: dict[Variant, dict[EngineName, EngineFile]] = {}
    found: dict[str, EngineParity] = {}
    for precision in precisions:
        pair: dict[EngineName, EngineFile] = {}
        for name in ENGINES:
            say(f"writing the native {name} engine in {precision}")
            path = folder / f"{name}.{FILES[precision]}.onnx"
            contract = write_native_graph(name, detector, path, precision)
            pair[name] = EngineFile(**StoredFile.of(path).model_dump(), tensors=contract)
        engines = OnnxEngines(
            folder / pair["frame"].file,
            folder / pair["sequence"].file,
            detector.dimensions,
            RuntimeOptions(precision=precision),
        )
        try:
            parity = reference.measure(engines, TOLERANCES[precision])
        finally:
            engines.close()
        if failures := parity.failures():
            raise ExportError(f"the native {precision} engines differ from the model: {'; '.join(failures)}")
        files[VARIANTS[precision]] = pair
        found[precision] = parity
    return files, found

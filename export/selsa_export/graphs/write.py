"""The two stages of the detector as ONNX graphs with dynamic batch, height, width and reference count.

There are two kinds: one for ONNX Runtime and OpenVINO, and *native* graphs for TensorRT, which use only
operators that every TensorRT has. Both are written from the same modules. They differ in top-k, in
suppression and in RoIAlign.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from selsa_bundle.contract import BANK_VALID, Dimensions, EngineContract, EngineName, contract_for
from selsa_export.graphs.everyday import EverydayFrameGraph, EverydaySequenceGraph
from selsa_export.graphs.operators import NATIVE_TRANSLATIONS, TRANSLATIONS, Translations
from selsa_export.graphs.precision import FloatPrecision
from selsa_export.graphs.stages import FrameGraph, SequenceGraph
from selsa_training.config import ModelConfig
from selsa_training.everyday.detector import EverydayDetector
from selsa_training.families import AnyDetector
from selsa_training.model.backbone import STRIDE
from selsa_training.model.roi_align_matrices import MAX_CELLS

OPSET: Final = 18
# Sizes the graphs are traced with: all different and none of them 1, so that no dynamic dimension is taken
# for a constant or for another.
TRACE_BATCH: Final = 2
TRACE_SIZE: Final = (96, 160)
TRACE_REFERENCES: Final = 3
# Weights below this size stay float32: the saving is smaller than the cost of a node.
SMALLEST_BYTES: Final = 1024


def write_graph(engine: EngineName, detector: AnyDetector, path: Path) -> EngineContract:
    """Write one engine of `detector` (in evaluation mode, on the CPU) to `path` as ONNX.

    Returns:
        The tensor contract that the graph was written to.
    """
    stage = _stage(engine, detector, "fp32", native=False)
    contract = _write(engine, stage, detector, path, TRANSLATIONS)
    if engine == "frame" and isinstance(detector, EverydayDetector):
        _store_half_weights(path)
    return contract


def write_native_graph(
    engine: EngineName, detector: AnyDetector, path: Path, precision: FloatPrecision = "fp32"
) -> EngineContract:
    """As `write_graph`, with operators that every TensorRT has; inputs and outputs are always float32."""
    stage = _stage(engine, detector, precision, native=True)
    return _write(engine, stage, detector, path, NATIVE_TRANSLATIONS)


def _stage(
    engine: EngineName, detector: AnyDetector, precision: FloatPrecision, *, native: bool
) -> nn.Module:
    if isinstance(detector, EverydayDetector):
        frame = engine == "frame"
        return EverydayFrameGraph(detector, precision) if frame else EverydaySequenceGraph(detector)
    if engine == "sequence":
        return SequenceGraph(detector, precision)
    return FrameGraph(detector, precision, roi_products=native or roi_products(detector.config))


def roi_products(config: ModelConfig) -> bool:
    """Whether RoIAlign is two matrix products in the graph for CPUs.

    On feature maps of a few hundred cells the products take a third of the time of ONNX Runtime's RoIAlign.
    The ratio grows with the map. On the maps of R-50, with over 2,000 cells, the products take the same time
    as ONNX Runtime's RoIAlign, three times the time of OpenVINO's, and much more memory.
    """
    cells = -(-config.preprocess.long_side // STRIDE) * -(-config.preprocess.short_side // STRIDE)
    return cells <= MAX_CELLS


def _write(
    engine: EngineName,
    stage: nn.Module,
    detector: AnyDetector,
    path: Path,
    translations: Translations,
) -> EngineContract:
    contract = contract_for(engine, detector.dimensions)
    with _quiet():
        program = torch.onnx.export(
            stage.eval(),
            _example(contract, detector.dimensions),
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name for spec in contract.inputs],
            output_names=[spec.name for spec in contract.outputs],
            dynamic_shapes=_dynamic_shapes(contract, detector.config.preprocess.size_multiple),
            custom_translation_table=translations,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    # The metadata holds source paths of this machine. No runtime needs it.
    ClearMetadataAndDocStringPass()(program.model)
    program.save(str(path), include_initializers=True, external_data=False)
    return contract


def _dynamic_shapes(contract: EngineContract, multiple: int) -> tuple[dict[int, Any], ...]:
    """Every dimension that the contract names by a letter is dynamic; H and W are multiples of `multiple`.

    Without `multiple`, torch cannot prove that a map has its old size after it was halved and doubled.
    """
    sizes: dict[str, Any] = {letter: multiple * torch.export.Dim(letter.lower()) for letter in "HW"}
    return tuple(
        {axis: sizes.get(size, size) for axis, size in enumerate(spec.shape) if isinstance(size, str)}
        for spec in contract.inputs
    )


def _example(contract: EngineContract, dims: Dimensions) -> tuple[torch.Tensor, ...]:
    """Inputs to trace with; their values do not matter, but every proposal is valid and has an area."""
    height, width = TRACE_SIZE
    sizes = {"B": TRACE_BATCH, "H": height, "W": width, "R": TRACE_REFERENCES * dims.bank_rows}
    values = {
        "boxes": [0, 0, 32, 32],
        "image_size": [height, width],
        "valid": 1,
        BANK_VALID: 1,
        "scale_factor": 1,
    }
    return tuple(
        torch.tensor(values.get(spec.name, 0), dtype=getattr(torch, spec.dtype))
        .expand([sizes[size] if isinstance(size, str) else size for size in spec.shape])
        .contiguous()
        for spec in contract.inputs
    )


def _store_half_weights(path: Path) -> None:
    """Rewrite the graph at `path`: store weights as float16 if that represents them exactly.

    Runtimes fold the casts back to float32 when they load the graph, so results and speed are unchanged.
    """
    model = onnx.load(str(path))
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if values.nbytes < SMALLEST_BYTES or not np.array_equal(half.astype(np.float32), values):
            continue
        name, stored = tensor.name, f"{tensor.name}.half"
        tensor.CopyFrom(numpy_helper.from_array(half, stored))
        casts.append(helper.make_node("Cast", [stored], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    for index, cast in enumerate(casts):
        model.graph.node.insert(index, cast)
    onnx.save(model, str(path))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's progress output and its warnings about its own deprecations."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)

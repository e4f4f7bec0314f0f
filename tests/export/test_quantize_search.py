"""Which blocks stay fp32: those that cost detections, not those that only change features."""

import numpy as np
import onnx

from selsa_bundle.default_bundle import synthetic_bundle, synthetic_video
from selsa_bundle.manifest import Manifest
from selsa_bundle.precision_report import Bounds, DetectionAgreement
from selsa_export.int8.search import quantize_until
from selsa_export.parity.frames import read_frames

HARMFUL = "neck.conv.weight"


def agreement(quantized: onnx.ModelProto) -> DetectionAgreement:
    """As if every detection depended on the neck."""
    bytes_of = {each.name for each in quantized.graph.initializer if each.data_type == onnx.TensorProto.INT8}
    return DetectionAgreement(
        frames=1,
        threshold=0.3,
        iou=0.9,
        compared=10,
        matched=0 if f"{HARMFUL}_quantized" in bytes_of else 10,
        extra=0,
        score_quantiles={"0.95": 0.0},
    )


def test_a_block_returns_to_int8_if_the_bounds_hold_with_it() -> None:
    manifest = Manifest.read(synthetic_bundle())
    model = onnx.load(str(synthetic_bundle() / "frame.onnx"))
    frames = [manifest.preprocess.prepare(frame) for frame in read_frames(synthetic_video(), 1)]
    said: list[str] = []
    found = quantize_until(model, frames, agreement, Bounds(), manifest.dimensions.tensors, said.append)
    assert [layer.group for layer in found.layers if layer.kept_fp32] == ["neck"]
    weights = {each.name for each in found.model.graph.initializer if each.data_type == onnx.TensorProto.INT8}
    assert f"{HARMFUL}_quantized" not in weights
    assert np.isclose(sum(layer.cost for layer in found.layers), 1, atol=1e-3)


def test_the_search_ends_if_fp32_finds_nothing_to_compare() -> None:
    manifest = Manifest.read(synthetic_bundle())
    model = onnx.load(str(synthetic_bundle() / "frame.onnx"))
    frames = [manifest.preprocess.prepare(frame) for frame in read_frames(synthetic_video(), 1)]
    compared = []

    def nothing(quantized: onnx.ModelProto) -> DetectionAgreement:
        compared.append(quantized)
        return agreement(quantized).model_copy(update={"compared": 0, "matched": 0})

    said: list[str] = []
    found = quantize_until(model, frames, nothing, Bounds(), manifest.dimensions.tensors, said.append)
    assert len(compared) == 1
    assert not any(layer.kept_fp32 for layer in found.layers)
    assert "nothing can be compared" in said[-1]

"""int8 for TensorRT: symmetric, explicit, and as close to the model as int8 for CPUs.

The packaged model's graph for CPUs has the layers of a native graph, by the same names.
"""

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from selsa_bundle.default_bundle import synthetic_bundle, synthetic_video
from selsa_bundle.manifest import Manifest
from selsa_bundle.preprocess import PreparedFrame
from selsa_export.int8.layers import Range, layers_of
from selsa_export.int8.native import native_tensors, quantize_native
from selsa_export.int8.ranges import calibrate
from selsa_export.parity.frames import read_frames

NEVER = ("rpn.objectness.weight", "rpn.deltas.weight")


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(str(synthetic_bundle() / "frame.onnx"))


@pytest.fixture(scope="module")
def frames() -> list[PreparedFrame]:
    preprocess = Manifest.read(synthetic_bundle()).preprocess
    return [preprocess.prepare(frame) for frame in read_frames(synthetic_video(), 3)]


@pytest.fixture(scope="module")
def ranges(model: onnx.ModelProto, frames: list[PreparedFrame]) -> dict[str, Range]:
    return calibrate(model, sorted(native_tensors(model, layers_of(model))), (), frames).ranges


@pytest.fixture(scope="module")
def quantized(model: onnx.ModelProto, ranges: dict[str, Range]) -> onnx.ModelProto:
    return quantize_native(model, (), ranges)


def run(model: onnx.ModelProto, frame: PreparedFrame) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {"frames": frame.pixels[None], "image_size": np.array([frame.image_size], np.int64)}
    return dict(zip(names, session.run(None, feeds), strict=True))


def test_everything_is_symmetric_and_weights_have_a_scale_for_each_output_channel(
    quantized: onnx.ModelProto,
) -> None:
    constants = {each.name: numpy_helper.to_array(each) for each in quantized.graph.initializer}
    kinds = Counter()
    for node in quantized.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            assert zero.dtype == np.int8 and not zero.any()
            scale = constants[node.input[1]]
            assert scale.dtype == np.float32 and (scale > 0).all()
            of_weights = node.input[0] in constants
            assert scale.shape == ((len(constants[node.input[0]]),) if of_weights else ())
            kinds[node.op_type, of_weights] += 1
    assert kinds["DequantizeLinear", True] == 28
    assert kinds["QuantizeLinear", False] == kinds["DequantizeLinear", False]
    assert kinds["QuantizeLinear", True] == 0


def test_biases_and_layers_that_compute_boxes_are_not_quantised(
    model: onnx.ModelProto, quantized: onnx.ModelProto
) -> None:
    constants = {each.name: each for each in quantized.graph.initializer}
    for each in model.graph.initializer:
        if each.name.endswith(".bias") or each.name in NEVER:
            assert constants[each.name] == each
    assert quantized.ByteSize() < 0.3 * model.ByteSize()


def test_a_residual_sum_has_one_quantised_input(
    quantized: onnx.ModelProto,
) -> None:
    made_by = {name: node for node in quantized.graph.node for name in node.output}
    sums = 0
    for node in quantized.graph.node:
        makers = [made_by[name].op_type if name in made_by else None for name in node.input]
        if node.op_type == "Add" and "Conv" in makers:
            assert sorted(makers) == ["Conv", "DequantizeLinear"]
            sums += 1
    assert sums == 7


def test_kept_blocks_are_those_of_the_fp32_graph(model: onnx.ModelProto, ranges: dict[str, Range]) -> None:
    groups = {layer.group for layer in layers_of(model)}
    same = quantize_native(model, groups, ranges)
    assert list(same.graph.node) == list(model.graph.node)
    one = quantize_native(model, groups - {"head.stages.0"}, ranges)
    quantized = [node.name for node in one.graph.node if node.op_type == "DequantizeLinear"]
    assert len(quantized) == 2 and "head.stages.0.fc.weight_dequantize" in quantized


def test_the_int8_graph_is_close_to_the_model(
    model: onnx.ModelProto, quantized: onnx.ModelProto, frames: list[PreparedFrame]
) -> None:
    onnx.checker.check_model(quantized, full_check=True)
    want, found = run(model, frames[1]), run(quantized, frames[1])
    best = want["boxes"][0, :5]
    distance = np.abs(best[:, None] - found["boxes"][0][None]).max(-1)
    assert (distance.min(1) < 12).all()
    rows = distance.argmin(1)
    off = want["memory"][0][:, :, :5] - found["memory"][0][:, :, rows]
    assert 0 < np.linalg.norm(off) / np.linalg.norm(want["memory"][0][:, :, :5]) < 0.2

"""int8 in a frame engine's graph: quantised layers change outputs a little, other layers are unchanged."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from selsa_bundle.default_bundle import synthetic_bundle, synthetic_video
from selsa_bundle.manifest import Manifest
from selsa_bundle.preprocess import PreparedFrame
from selsa_export.int8.graph import quantize_graph, tensors_to_calibrate
from selsa_export.int8.layers import Layer, layers_of
from selsa_export.int8.ranges import Calibration, calibrate
from selsa_export.parity.frames import read_frames

Outputs = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(str(synthetic_bundle() / "frame.onnx"))


@pytest.fixture(scope="module")
def layers(model: onnx.ModelProto) -> list[Layer]:
    return layers_of(model)


@pytest.fixture(scope="module")
def frames() -> list[PreparedFrame]:
    preprocess = Manifest.read(synthetic_bundle()).preprocess
    return [preprocess.prepare(frame) for frame in read_frames(synthetic_video(), 3)]


@pytest.fixture(scope="module")
def calibration(model: onnx.ModelProto, layers: list[Layer], frames: list[PreparedFrame]) -> Calibration:
    counted = [layer.output for layer in layers]
    return calibrate(model, tensors_to_calibrate(model, layers), counted, frames)


def run(model: onnx.ModelProto, frame: PreparedFrame) -> Outputs:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {"frames": frame.pixels[None], "image_size": np.array([frame.image_size], np.int64)}
    return dict(zip(names, session.run(None, feeds), strict=True))


def relative(want: np.ndarray, found: np.ndarray) -> float:
    return float(np.linalg.norm(want - found) / np.linalg.norm(want))


def test_every_layer_belongs_to_a_block_except_those_that_compute_boxes(layers: list[Layer]) -> None:
    groups = Counter(layer.group for layer in layers)
    assert groups["backbone.stem"] == 3
    assert groups["backbone.layer2.0"] == 3  # with the projection of the identity
    assert groups["neck"] == groups["rpn"] == groups["head.stages.0"] == 1
    assert groups["head.stages.1.memory"] == 2
    assert len(layers) == 28


def test_quantising_no_block_gives_the_same_graph(
    model: onnx.ModelProto, calibration: Calibration, frames: list[PreparedFrame]
) -> None:
    same = quantize_graph(model, (), calibration.ranges)
    want, found = run(model, frames[0]), run(same, frames[0])
    for name, value in want.items():
        assert np.array_equal(value, found[name])


def test_quantising_every_block_still_finds_the_same_boxes(
    model: onnx.ModelProto, layers: list[Layer], calibration: Calibration, frames: list[PreparedFrame]
) -> None:
    quantized = quantize_graph(model, {layer.node for layer in layers}, calibration.ranges)
    onnx.checker.check_model(quantized, full_check=True)
    want, found = run(model, frames[1]), run(quantized, frames[1])
    best = want["boxes"][0, :5]
    distance = np.abs(best[:, None] - found["boxes"][0][None]).max(-1).min(1)
    assert (distance < 12).all()
    assert not np.array_equal(want["memory"], found["memory"])


def test_weights_are_stored_only_as_bytes(
    model: onnx.ModelProto, layers: list[Layer], calibration: Calibration
) -> None:
    nodes = {layer.node for layer in layers}
    quantized = quantize_graph(model, nodes, calibration.ranges)
    assert quantized.ByteSize() < 0.3 * model.ByteSize()
    made_of = {name: node for node in quantized.graph.node for name in node.output}
    for node in quantized.graph.node:
        if node.name in nodes:
            assert made_of[node.input[0]].op_type == made_of[node.input[1]].op_type == "DequantizeLinear"
        elif node.op_type in ("Conv", "Gemm", "MatMul"):
            assert made_of.get(node.input[1], node).op_type != "DequantizeLinear"


def test_one_block_disturbs_the_features_less_than_all(
    model: onnx.ModelProto, layers: list[Layer], calibration: Calibration, frames: list[PreparedFrame]
) -> None:
    """On a block that leaves the proposals alone, so that rows can be compared."""
    nodes = {layer.node for layer in layers if layer.group == "head.stages.0"}
    want, found = run(model, frames[0]), run(quantize_graph(model, nodes, calibration.ranges), frames[0])
    assert np.array_equal(want["boxes"], found["boxes"])
    assert 0 < relative(want["queries"], found["queries"]) < 0.02
    assert 0 < relative(want["memory"], found["memory"]) < 0.02


def test_each_channel_has_one_scale_for_its_largest_weight(
    model: onnx.ModelProto, layers: list[Layer], calibration: Calibration
) -> None:
    layer = next(layer for layer in layers if layer.group == "neck")
    quantized = quantize_graph(model, {layer.node}, calibration.ranges)
    constants = {each.name: numpy_helper.to_array(each) for each in quantized.graph.initializer}
    original = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    name = "neck.conv.weight"
    whole, scale = constants[f"{name}_quantized"], constants[f"{name}_scale"]
    assert whole.dtype == np.int8 and scale.shape == (whole.shape[0],)
    assert (np.abs(whole).max(axis=(1, 2, 3)) == 64).all()
    restored = whole * scale[:, None, None, None]
    assert np.abs(restored - original[name]).max() <= scale.max() / 2 * 1.001


def test_two_products_fit_into_sixteen_bits(
    model: onnx.ModelProto, layers: list[Layer], calibration: Calibration
) -> None:
    """Processors without VNNI add them there and saturate."""
    quantized = quantize_graph(model, {layer.node for layer in layers}, calibration.ranges)
    weights = [each for each in quantized.graph.initializer if each.data_type == onnx.TensorProto.INT8]
    largest = max(int(np.abs(numpy_helper.to_array(each).astype(int)).max()) for each in weights)
    assert 2 * 255 * largest <= np.iinfo(np.int16).max


def test_frames_are_normalised_with_channels_first(
    model: onnx.ModelProto, layers: list[Layer], calibration: Calibration, tmp_path: Path
) -> None:
    """ONNX Runtime would move the Transpose behind it, and normalising would take as long as a block."""
    quantized = quantize_graph(model, {layer.node for layer in layers}, calibration.ranges)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
    makers = {name: node for node in graph.node for name in node.output}
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    passed, todo = [], [first.input[0]]
    while todo:
        node = makers.get(todo.pop())
        if node is not None:
            passed.append(node.op_type)
            todo.extend(node.input)
    assert "Transpose" in passed


def test_a_channel_without_weights_keeps_its_bias(
    model: onnx.ModelProto, layers: list[Layer], calibration: Calibration
) -> None:
    """ONNX Runtime's `quantize_static` gives it the scale 1.0, and its bias is rounded away."""
    layer = next(layer for layer in layers if layer.group == "neck")
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    stored = {each.name: each for each in changed.graph.initializer}
    node = next(node for node in changed.graph.node if node.name == layer.node)
    weight, bias = (numpy_helper.to_array(stored[name]).copy() for name in node.input[1:])
    weight[3], bias[3] = 0, 0.4
    for name, array in zip(node.input[1:], (weight, bias), strict=True):
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    quantized = quantize_graph(changed, {layer.node}, calibration.ranges)
    constants = {each.name: numpy_helper.to_array(each) for each in quantized.graph.initializer}
    whole, scale = (constants[f"{node.input[2]}_{part}"] for part in ("quantized", "scale"))
    assert whole[3] * scale[3] == pytest.approx(0.4, rel=1e-6)
    assert not constants[f"{node.input[1]}_quantized"][3].any()


def test_ranges_include_the_values_of_the_frames(layers: list[Layer], calibration: Calibration) -> None:
    for low, high in calibration.ranges.values():
        assert low < high
    low, high = calibration.ranges[layers[0].activation]  # normalised pixels
    assert -2.2 < low < -1 and 1 < high < 2.7
    sizes = calibration.sizes
    assert sizes[next(layer.output for layer in layers if layer.group == "rpn")] == 128 * 12 * 20

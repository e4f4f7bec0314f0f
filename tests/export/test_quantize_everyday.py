"""The everyday model's frame engine stores float16 weights; int8 finds its layers all the same."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from selsa_bundle.default_bundle import default_bundle, sample_video
from selsa_bundle.manifest import Manifest
from selsa_export.int8.graph import quantize_graph, tensors_to_calibrate
from selsa_export.int8.layers import NANODET, layers_of, load_graph
from selsa_export.int8.ranges import calibrate
from selsa_export.parity.frames import read_frames


def test_every_convolution_but_the_last_of_each_head_may_be_quantised() -> None:
    path = default_bundle() / "frame.onnx"
    model = load_graph(path)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    layers = layers_of(model)
    assert len(layers) == len(convolutions) - 3
    assert {layer.group for layer in layers} == {
        "stem",
        *(f"stages.{stage}" for stage in range(4)),
        *(f"{part}.{level}" for part in ("lateral", "heads") for level in range(3)),
    }
    stored = {each.name: each for each in onnx.load(str(path)).graph.initializer}
    read = {each.name: each for each in model.graph.initializer}
    name = f"{NANODET}stem.conv.weight"
    weight = numpy_helper.to_array(read[name])
    assert weight.dtype == np.float32
    assert np.array_equal(weight, numpy_helper.to_array(stored[f"{name}.half"]).astype(np.float32))


@pytest.fixture(scope="module")
def quantized() -> onnx.ModelProto:
    """Every layer that may be int8 is."""
    bundle = default_bundle()
    model = load_graph(bundle / "frame.onnx")
    layers = layers_of(model)
    preprocess = Manifest.read(bundle).preprocess
    frames = [preprocess.prepare(frame) for frame in read_frames(sample_video(), 1)]
    ranges = calibrate(model, tensors_to_calibrate(model, layers), (), frames).ranges
    return quantize_graph(model, {layer.node for layer in layers}, ranges)


def test_activations_and_joined_maps_stay_bytes_between_convolutions(quantized: onnx.ModelProto) -> None:
    """Only then do runtimes compute them on bytes."""
    makers = {name: node for node in quantized.graph.node for name in node.output}
    between = [
        node
        for node in quantized.graph.node
        if node.op_type == "LeakyRelu"
        or (node.op_type == "Concat" and makers[node.input[0]].op_type != "Shape")
    ]
    bytes_in = [
        node for node in between if all(makers[name].op_type == "DequantizeLinear" for name in node.input)
    ]
    assert sum(node.op_type == "LeakyRelu" for node in bytes_in) == 28
    assert sum(node.op_type == "Concat" for node in bytes_in) == 12
    takers = [node for node in quantized.graph.node if node.op_type == "QuantizeLinear"]
    assert {node.output[0] for node in bytes_in} <= {node.input[0] for node in takers}

"""The everyday model's frame engine stores float16 weights; int8 finds its layers all the same."""

import numpy as np
import onnx
from onnx import numpy_helper

from selsa_bundle.default_bundle import default_bundle
from selsa_export.int8.layers import NANODET, layers_of, load_graph


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

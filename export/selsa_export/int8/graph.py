"""int8 in a frame engine's graph for CPUs: quantise and dequantise nodes around layers.

Convolutions and matrix products take uint8 activations (one scale per tensor) and int8 weights of 7 bits (one
scale per output channel). ONNX Runtime and OpenVINO fuse dequantise, operator and quantise into one integer
kernel; nodes that are not fused compute the same in fp32. Anchors, decoding of boxes, suppression, RoIAlign
and the two convolutions that score and place proposals are not quantised.

`QDQQuantizer` of onnxruntime.quantization makes the same weights, scales and zero points from these ranges.
But it must be told which nodes between layers to join, as `_plan` does; a channel whose weights are all zero
loses its bias; it is not documented; and the `Reshape` below would have to be added to its graph.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from onnx import helper

from selsa_export.int8.layers import Graph, Layer, Range, array_of, quantized_weights
from selsa_export.int8.nodes import QuantizedNodes, dequantized, with_nodes

# Without VNNI, processors add two products of uint8 and int8 in 16 bits, and saturate: 2 * 255 * 64 fits.
WEIGHT_BITS: Final = 7
LARGEST_WEIGHT: Final = 64
JOINTS: Final = ("Add", "Concat")
# Sizes of a Reshape that changes nothing: each size is that of its input.
SAME_SIZES: Final = np.array([0, 0, 0, -1], np.int64)


def tensors_to_calibrate(model: Any, layers: Collection[Layer]) -> list[str]:
    """All tensors that are quantised if all of these layers are."""
    plan = _plan(Graph(model.graph), {layer.node for layer in layers})
    return sorted({*plan.made_quantized, *plan.taken_quantized})


def quantize_graph(
    model: Any, nodes: Collection[str], ranges: Mapping[str, Range], largest_weight: int = LARGEST_WEIGHT
) -> Any:
    """A copy of the model with these nodes in int8.

    Args:
        model: the fp32 frame engine.
        ranges: lowest and highest value of every tensor that `tensors_to_calibrate` names.
        largest_weight: absolute integer value of each channel's largest weight.
    """
    graph = Graph(model.graph)
    writer = _Writer(graph, _plan(graph, set(nodes)), ranges, largest_weight)
    writer.write()
    return with_nodes(model, writer.made.nodes, writer.made.constants)


@dataclass(slots=True)
class _Plan:
    """Which tensors are quantised.

    Attributes:
        made_quantized: tensors that all consumers read as uint8.
        taken_quantized: tensors that only quantised layers read as uint8.
        same_range: tensors that must have the range of another one.
    """

    nodes: set[str]
    made_quantized: set[str]
    taken_quantized: set[str]
    same_range: dict[str, str]


def _plan(graph: Graph, nodes: set[str]) -> _Plan:
    plan = _Plan(nodes, set(), set(), {})
    for node in graph.nodes:
        if node.name in nodes:
            plan.taken_quantized.add(node.input[0])
            # Results of matrix products stay fp32: they go to outputs, or to a bias first.
            if node.op_type == "Conv":
                plan.made_quantized.add(graph.after_relu(node.output[0]))
        elif node.op_type in JOINTS and all(name in plan.made_quantized for name in node.input):
            plan.made_quantized.add(graph.after_relu(node.output[0]))
        elif node.op_type == "LeakyRelu" and node.input[0] in plan.made_quantized:
            plan.made_quantized.add(node.output[0])
        elif node.op_type == "MaxPool" and node.input[0] in plan.made_quantized:
            plan.made_quantized.add(node.output[0])
            plan.same_range[node.output[0]] = node.input[0]
    return plan


class _Writer:
    """Visits each node of a graph once and quantises each tensor right after the node that outputs it."""

    def __init__(self, graph: Graph, plan: _Plan, ranges: Mapping[str, Range], largest_weight: int) -> None:
        self._graph = graph
        self._plan = plan
        self._ranges = ranges
        self._largest = largest_weight
        self.made = QuantizedNodes()
        self._scales: dict[str, np.float32] = {}

    def write(self) -> None:
        for original in self._graph.nodes:
            node = copy.deepcopy(original)
            chosen = node.name in self._plan.nodes
            self._take(node, chosen=chosen)
            self.made.add(node)
            if chosen and node.op_type == "Gemm":
                self._set_bias_apart(node)
            for tensor in original.output:
                if tensor in self._plan.made_quantized or tensor in self._plan.taken_quantized:
                    self._quantize_activation(tensor)

    def _take(self, node: Any, *, chosen: bool) -> None:
        """Connect a node to its dequantised inputs, weights included."""
        for position, tensor in enumerate(node.input):
            wanted = chosen and position == 0 and tensor in self._plan.taken_quantized
            if wanted or tensor in self._plan.made_quantized:
                node.input[position] = dequantized(tensor)
            if wanted:
                self._quantize_weights(node, tensor)

    def _quantize_activation(self, tensor: str) -> None:
        low, high = self._ranges[self._plan.same_range.get(tensor, tensor)]
        low, high = min(low, 0.0), max(high, 0.0)
        # float32, as in the kernels. A tensor of zeros needs a scale above 0 too.
        scale = np.float32(max(high - low, 1e-8) / 255)
        zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
        self._scales[tensor] = scale
        source = self._kept_layout(tensor) if tensor == self._graph.image else tensor
        self.made.pair(tensor, scale, np.asarray(zero), source)

    def _kept_layout(self, image: str) -> str:
        """The same image after a Reshape, through which ONNX Runtime moves no Transpose.

        Its integer convolutions want channels last. It would move that up to the frames and normalise them
        with three channels last, which is slow: see findings/onnxruntime-normalises-channels-last.sh.
        """
        kept = f"{image}_kept"
        sizes = self.made.constant(f"{kept}_sizes", SAME_SIZES)
        self.made.add(helper.make_node("Reshape", [image, sizes], [kept], kept))
        return kept

    def _quantize_weights(self, node: Any, activation: str) -> None:
        """int8 weights and, for a convolution, int32 biases with the product of both scales as step."""
        weight, bias = (array_of(self._graph, name) for name in node.input[1:])
        if node.op_type == "Gemm":
            node.input[1] = self.made.stored(node.input[1], *quantized_weights(weight, self._largest))
            return
        # A channel of zero weights has a tiny step, in which its bias would overflow int32.
        least = np.abs(bias.astype(np.float64)) * 1.01 / (2**31 - 1) / self._scales[activation]
        whole, scale = quantized_weights(weight, self._largest, np.maximum(least, 1e-12))
        step = scale * self._scales[activation]
        steps = np.rint(bias.astype(np.float64) / step).astype(np.int32)
        node.input[2] = self.made.stored(node.input[2], steps, step)
        node.input[1] = self.made.stored(node.input[1], whole, scale)

    def _set_bias_apart(self, node: Any) -> None:
        """Make the bias of a matrix product a separate fp32 node.

        Runtimes fuse a product only if its result is not quantised; a biased result may be.
        """
        (tensor,), bias = node.output, node.input.pop()
        node.output[0] = f"{tensor}_product"
        self.made.add(helper.make_node("Add", [node.output[0], bias], [tensor], f"{tensor}_bias"))

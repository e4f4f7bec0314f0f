"""int8 written into a frame engine's graph for CPUs: quantise and dequantise around what is quantised.

Convolutions and matrix products take uint8 activations (one scale a tensor) and int8 weights (one scale an
output channel). ONNX Runtime and OpenVINO fuse each group of dequantise, operate, quantise into one integer
kernel; what is not fused computes the same in fp32. Anchors, decoding of boxes, suppression and RoIAlign are
never touched, nor are the two convolutions that say how good a box is and where it lies.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper

from selsa_export.int8.layers import Graph, Layer, Range, array_of, quantized_weights
from selsa_export.int8.nodes import QuantizedNodes, dequantized, with_nodes


def tensors_to_calibrate(model: Any, layers: Collection[Layer]) -> list[str]:
    """Every tensor that could be quantised, whichever layers are."""
    plan = _plan(Graph(model.graph), {layer.node for layer in layers})
    return sorted({*plan.made_quantized, *plan.taken_quantized})


def quantize_graph(model: Any, nodes: Collection[str], ranges: Mapping[str, Range]) -> Any:
    """A copy of the model with these nodes in int8.

    Args:
        model: the fp32 frame engine.
        nodes: names of layers' nodes.
        ranges: lowest and highest value of every tensor that `tensors_to_calibrate` names.
    """
    graph = Graph(model.graph)
    writer = _Writer(graph, _plan(graph, set(nodes)), ranges)
    writer.write()
    return with_nodes(model, writer.made.nodes, writer.made.constants)


@dataclass(slots=True)
class _Plan:
    """Attributes: nodes quantised; tensors that leave a kernel as uint8; those that only such nodes take so;
    tensors that must have the range of another one.
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
            # Products of matrices leave in fp32: their results go to outputs, or to a bias first.
            if node.op_type == "Conv":
                plan.made_quantized.add(graph.after_relu(node.output[0]))
        elif node.op_type == "Add" and all(name in plan.made_quantized for name in node.input):
            plan.made_quantized.add(graph.after_relu(node.output[0]))
        elif node.op_type == "MaxPool" and node.input[0] in plan.made_quantized:
            plan.made_quantized.add(node.output[0])
            plan.same_range[node.output[0]] = node.input[0]
    return plan


class _Writer:
    """Goes through a graph once; a tensor is quantised right where it is made."""

    def __init__(self, graph: Graph, plan: _Plan, ranges: Mapping[str, Range]) -> None:
        self._graph = graph
        self._plan = plan
        self._ranges = ranges
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
        """Point a node at the dequantised tensors it is to take, weights included."""
        for position, tensor in enumerate(node.input):
            wanted = chosen and position == 0 and tensor in self._plan.taken_quantized
            if wanted or tensor in self._plan.made_quantized:
                node.input[position] = dequantized(tensor)
            if wanted:
                self._quantize_weights(node, tensor)

    def _quantize_activation(self, tensor: str) -> None:
        low, high = self._ranges[self._plan.same_range.get(tensor, tensor)]
        low, high = min(low, 0.0), max(high, 0.0)
        # float32, as the kernels have it; a tensor that is zero throughout needs some scale, too.
        scale = np.float32(max(high - low, 1e-8) / 255)
        zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
        self._scales[tensor] = scale
        self.made.pair(tensor, scale, np.asarray(zero))

    def _quantize_weights(self, node: Any, activation: str) -> None:
        """int8 weights and, for a convolution, int32 biases in steps of both scales' product."""
        weight, bias = (array_of(self._graph, name) for name in node.input[1:])
        if node.op_type == "Gemm":
            node.input[1] = self.made.stored(node.input[1], *quantized_weights(weight))
            return
        # A channel without weights but with a bias would overflow its tiny steps.
        least = np.abs(bias.astype(np.float64)) * 1.01 / (2**31 - 1) / self._scales[activation]
        whole, scale = quantized_weights(weight, np.maximum(least, 1e-12))
        step = scale * self._scales[activation]
        steps = np.rint(bias.astype(np.float64) / step).astype(np.int32)
        node.input[2] = self.made.stored(node.input[2], steps, step)
        node.input[1] = self.made.stored(node.input[1], whole, scale)

    def _set_bias_apart(self, node: Any) -> None:
        """The bias of a product of matrices as a node of its own, in fp32.

        Runtimes fuse a product whose result goes on in fp32 alone; this one's may go on as bytes as well.
        """
        (tensor,), bias = node.output, node.input.pop()
        node.output[0] = f"{tensor}_product"
        self.made.add(helper.make_node("Add", [node.output[0], bias], [tensor], f"{tensor}_bias"))

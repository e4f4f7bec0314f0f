"""int8 in a native frame engine's graph as TensorRT needs it: explicit and strongly typed.

Activations and weights are symmetric int8; weights have one scale per output channel. Biases stay float. The
output of a convolution is quantised after its ReLU, and only for quantised layers that read it. Of a
residual sum, the side that is not the convolution's own result is quantised: TensorRT then adds it and
applies the ReLU within that convolution. Everything else is unchanged.
"""

import copy
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np

from selsa_export.int8.layers import Graph, Layer, Range, array_of, layers_of, quantized_weights
from selsa_export.int8.nodes import QuantizedNodes, dequantized, with_nodes

LARGEST: Final = 127


def native_tensors(model: Any, layers: Collection[Layer]) -> set[str]:
    """All tensors that are quantised if all of these layers are."""
    graph = Graph(model.graph)
    nodes = {layer.node for layer in layers}
    return {*_taken(graph, nodes), *_carried(graph, nodes).values()}


def quantize_native(model: Any, kept: Collection[str], ranges: Mapping[str, Range]) -> Any:
    """A copy of the model in int8.

    Args:
        model: the native fp32 frame engine.
        kept: groups of layers that stay fp32.
        ranges: lowest and highest value of every tensor that `native_tensors` names.
    """
    graph = Graph(model.graph)
    nodes = {layer.node for layer in layers_of(model) if layer.group not in kept}
    carried = _carried(graph, nodes)
    quantized = {*_taken(graph, nodes), *carried.values()}
    made = QuantizedNodes()
    for original in graph.nodes:
        node = copy.deepcopy(original)
        if node.name in nodes:
            node.input[0] = dequantized(node.input[0])
            weight = array_of(graph, node.input[1])
            node.input[1] = made.stored(node.input[1], *quantized_weights(weight, LARGEST))
        elif node.name in carried:
            position = list(node.input).index(carried[node.name])
            node.input[position] = dequantized(node.input[position])
        made.add(node)
        for tensor in original.output:
            if tensor in quantized:
                largest = max(abs(bound) for bound in ranges[tensor])
                # A tensor of zeros needs a scale above 0 too.
                made.pair(tensor, np.float32(max(largest, 1e-8) / LARGEST), np.asarray(np.int8(0)))
    return with_nodes(model, made.nodes, made.constants)


def _taken(graph: Graph, nodes: Collection[str]) -> set[str]:
    """Tensors that quantised layers read."""
    return {node.input[0] for node in graph.nodes if node.name in nodes}


def _carried(graph: Graph, nodes: Collection[str]) -> dict[str, str]:
    """For each residual sum, the side that is added within the convolution of the other side."""
    sides = {}
    for node in graph.nodes:
        if node.op_type != "Add" or not all(name in graph.maker for name in node.input):
            continue
        own, other = node.input
        if _is_convolution(graph, own, nodes) and len(graph.takers[own]) == 1:
            sides[node.name] = other
    return sides


def _is_convolution(graph: Graph, tensor: str, nodes: Collection[str]) -> bool:
    maker = graph.maker[tensor]
    return maker.op_type == "Conv" and maker.name in nodes

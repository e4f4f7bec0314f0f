"""int8 written into a frame engine's graph: QuantizeLinear and DequantizeLinear around what is quantised.

Convolutions and matrix products take uint8 activations (one scale a tensor) and int8 weights (one scale an
output channel). ONNX Runtime and OpenVINO fuse each group of dequantise, operate, quantise into one integer
kernel; what is not fused computes the same in fp32. Anchors, decoding of boxes, suppression and RoIAlign are
never touched, nor are the two convolutions that say how good a box is and where it lies.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

__all__ = ["Layer", "Range", "layers_of", "quantize_graph", "tensors_to_calibrate"]

# Half a pixel of a box is a thousandth of its delta's range, more than 8 bits tell apart.
NEVER: Final = ("rpn.objectness", "rpn.deltas")

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or a matrix product with weights.

    Attributes:
        node: the node's name in the graph.
        group: the block it belongs to; blocks are quantised as a whole.
        activation: name of the tensor that comes in.
        output: name of the tensor that goes out.
        weights_per_output: multiplications for one value that goes out.
    """

    node: str
    group: str
    activation: str
    output: str
    weights_per_output: int


class _Graph:
    """Who makes and who takes each tensor."""

    def __init__(self, graph: Any) -> None:
        self.nodes = list(graph.node)
        self.weights = {each.name: each for each in graph.initializer}
        self.op_of = {name: node.op_type for node in self.nodes for name in node.output}
        self.consumers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    def after_relu(self, tensor: str) -> str:
        """The tensor after a ReLU that alone takes this one; quantised there, it costs nothing."""
        takers = self.consumers.get(tensor, [])
        return str(takers[0].output[0]) if len(takers) == 1 and takers[0].op_type == "Relu" else tensor


def layers_of(model: Any) -> list[Layer]:
    """The layers of a frame engine that may be quantised, in order."""
    graph = _Graph(model.graph)
    layers = []
    for node in graph.nodes:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        weight = graph.weights.get(node.input[1])
        if weight is None or node.input[1].startswith(NEVER):
            continue
        layers.append(
            Layer(
                node=node.name,
                group=_group(node.input[1].removesuffix(".weight")),
                activation=node.input[0],
                output=node.output[0],
                weights_per_output=int(np.prod(weight.dims[1:])),
            )
        )
    return layers


def _group(parameter: str) -> str:
    """`backbone.layer3.5.conv2` -> `backbone.layer3.5`, a residual block; stem, neck and heads by name."""
    parts = parameter.split(".")
    if parts[0] == "backbone":
        return ".".join(parts[:3]) if parts[1].startswith("layer") else "backbone.stem"
    if parts[0] == "head":
        return ".".join(parts[:3]) + ("" if parts[3] == "fc" else ".memory")
    return parts[0]


def tensors_to_calibrate(model: Any, layers: Collection[Layer]) -> list[str]:
    """Every tensor that could be quantised, whichever layers are."""
    graph = _Graph(model.graph)
    plan = _plan(graph, {layer.node for layer in layers})
    return sorted({*plan.made_quantized, *plan.taken_quantized})


def quantize_graph(model: Any, nodes: Collection[str], ranges: Mapping[str, Range]) -> Any:
    """A copy of the model with these nodes in int8.

    Args:
        model: the fp32 frame engine.
        nodes: names of layers' nodes.
        ranges: lowest and highest value of every tensor that `tensors_to_calibrate` names.
    """
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    graph = _Graph(quantized.graph)
    plan = _plan(graph, set(nodes))
    writer = _Writer(graph, plan, ranges)
    writer.write()
    del quantized.graph.node[:]
    quantized.graph.node.extend(writer.nodes)
    used = {name for node in writer.nodes for name in node.input}
    kept = [each for each in (*quantized.graph.initializer, *writer.constants) if each.name in used]
    del quantized.graph.initializer[:]
    quantized.graph.initializer.extend(kept)
    return quantized


@dataclass(slots=True)
class _Plan:
    """Attributes: nodes quantised; tensors that leave a kernel as uint8; those that only such nodes take so;
    tensors that must have the range of another one.
    """

    nodes: set[str]
    made_quantized: set[str]
    taken_quantized: set[str]
    same_range: dict[str, str]


def _plan(graph: _Graph, nodes: set[str]) -> _Plan:
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
    """The nodes of the quantised graph, in order."""

    def __init__(self, graph: _Graph, plan: _Plan, ranges: Mapping[str, Range]) -> None:
        self._graph = graph
        self._plan = plan
        self._ranges = ranges
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._scales: dict[str, npt.NDArray[np.float32]] = {}

    def write(self) -> None:
        """Go through the graph once; a tensor is quantised right where it is made."""
        for node in self._graph.nodes:
            self._take(node)
            made = list(node.output)
            self.nodes.append(node)
            if node.op_type == "Gemm" and node.name in self._plan.nodes:
                self._set_apart(node)
            for tensor in made:
                if tensor in self._plan.made_quantized or tensor in self._plan.taken_quantized:
                    self._quantize_activation(tensor)

    def _take(self, node: Any) -> None:
        """Point a node at the dequantised tensors it is to take, weights included."""
        chosen = node.name in self._plan.nodes
        for position, tensor in enumerate(node.input):
            if tensor in self._plan.made_quantized or (
                chosen and position == 0 and tensor in self._plan.taken_quantized
            ):
                node.input[position] = f"{tensor}_dequantized"
                if chosen and position == 0:
                    self._quantize_weights(node, tensor)

    def _quantize_activation(self, tensor: str) -> None:
        low, high = self._ranges[self._plan.same_range.get(tensor, tensor)]
        low, high = min(low, 0.0), max(high, 0.0)
        # float32, as the kernels have it; a tensor that is zero throughout needs some scale, too.
        scale = np.float32(max(high - low, 1e-8) / 255)
        zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
        self._scales[tensor] = np.asarray(scale)
        self._pair(tensor, np.asarray(scale), np.asarray(zero))

    def _pair(self, tensor: str, scale: npt.NDArray[Any], zero: npt.NDArray[Any]) -> None:
        factor, offset = self._constant(f"{tensor}_scale", scale), self._constant(f"{tensor}_zero", zero)
        q, dq = f"{tensor}_quantized", f"{tensor}_dequantized"
        self.nodes.append(
            helper.make_node("QuantizeLinear", [tensor, factor, offset], [q], f"{tensor}_quantize")
        )
        self.nodes.append(
            helper.make_node("DequantizeLinear", [q, factor, offset], [dq], f"{tensor}_dequantize")
        )

    def _set_apart(self, node: Any) -> None:
        """The bias of a product of matrices as a node of its own, in fp32.

        Runtimes fuse a product whose result goes on in fp32 alone; this one's may go on as bytes as well.
        """
        (tensor,), bias = node.output, node.input.pop()
        node.output[0] = f"{tensor}_product"
        self.nodes.append(helper.make_node("Add", [node.output[0], bias], [tensor], f"{tensor}_bias"))

    def _quantize_weights(self, node: Any, activation: str) -> None:
        """int8 weights and, for a convolution, int32 biases in steps of both scales' product."""
        weight = numpy_helper.to_array(self._graph.weights[node.input[1]])
        others = tuple(range(1, weight.ndim))
        scale = np.maximum(np.abs(weight).max(axis=others) / 127, 1e-12).astype(np.float32)
        if node.op_type == "Conv" and len(node.input) > 2:
            bias = numpy_helper.to_array(self._graph.weights[node.input[2]]).astype(np.float64)
            # A channel without weights but with a bias would overflow its tiny steps.
            step = scale * self._scales[activation]
            needed = np.abs(bias) / (2**31 - 1)
            scale = np.where(step < needed, needed * 1.01 / self._scales[activation], scale)
            scale = scale.astype(np.float32)
            step = scale * self._scales[activation]
            node.input[2] = self._stored(node.input[2], np.rint(bias / step).astype(np.int32), step)
        whole = np.clip(np.rint(weight / scale.reshape(-1, *[1] * len(others))), -127, 127).astype(np.int8)
        node.input[1] = self._stored(node.input[1], whole, scale)

    def _stored(self, name: str, whole: npt.NDArray[Any], scale: npt.NDArray[np.float32]) -> str:
        """An integer constant and the node that dequantises it."""
        inputs = [
            self._constant(f"{name}_quantized", whole),
            self._constant(f"{name}_scale", scale),
            self._constant(f"{name}_zero", np.zeros(scale.shape, whole.dtype)),
        ]
        output = f"{name}_dequantized"
        self.nodes.append(
            helper.make_node("DequantizeLinear", inputs, [output], f"{name}_dequantize", axis=0)
        )
        return output

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

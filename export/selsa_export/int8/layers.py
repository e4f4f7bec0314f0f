"""The layers of a frame engine's graph that may be quantised, and their blocks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

NANODET: Final = "detector.nanodet.network."
# Half a pixel of a box is a thousandth of its delta's range, which 8 bits cannot represent. The last layer of
# NanoDet's heads gives scores and boxes.
NEVER: Final = ("rpn.objectness", "rpn.deltas", *(f"{NANODET}heads.{level}.out" for level in range(3)))
LAYERS: Final = ("Conv", "Gemm")

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or a matrix product with weights.

    Attributes:
        group: the block it belongs to; blocks are quantised as a whole.
        weights_per_output: multiplications per output value.
    """

    node: str
    group: str
    activation: str
    output: str
    weights_per_output: int


class Graph:
    """The producer and the consumers of each tensor."""

    def __init__(self, graph: Any) -> None:
        self.nodes = list(graph.node)
        self.weights = {each.name: each for each in graph.initializer}
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.takers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.takers.setdefault(name, []).append(node)

    @property
    def image(self) -> str:
        """The input of the first convolution: normalised frames."""
        return next(str(node.input[0]) for node in self.nodes if node.op_type == "Conv")

    def after_relu(self, tensor: str) -> str:
        """The output of the ReLU that is the only consumer of this tensor; otherwise the tensor itself."""
        takers = self.takers.get(tensor, [])
        return str(takers[0].output[0]) if len(takers) == 1 and takers[0].op_type == "Relu" else tensor


def load_graph(path: Path) -> Any:
    """Read a graph with its weights as float32, also where they are stored as float16 and cast."""
    model = onnx.load(str(path))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    casts = [n for n in model.graph.node if n.op_type == "Cast" and n.input[0] == f"{n.output[0]}.half"]
    for cast in casts:
        values = numpy_helper.to_array(weights[cast.input[0]]).astype(np.float32)
        weights[cast.input[0]].CopyFrom(numpy_helper.from_array(values, cast.output[0]))
        model.graph.node.remove(cast)
    return model


def layers_of(model: Any) -> list[Layer]:
    """The layers of a frame engine that may be quantised, in order; empty for a graph of another exporter."""
    graph = Graph(model.graph)
    return [
        Layer(
            node=node.name,
            group=_group(node.input[1].removesuffix(".weight")),
            activation=node.input[0],
            output=node.output[0],
            weights_per_output=int(np.prod(graph.weights[node.input[1]].dims[1:])),
        )
        for node in graph.nodes
        if node.op_type in LAYERS and _is_parameter(node.input[1], graph)
    ]


def _is_parameter(name: str, graph: Graph) -> bool:
    return name in graph.weights and name.endswith(".weight") and not name.startswith(NEVER)


def _group(parameter: str) -> str:
    """`backbone.layer3.5.conv2` -> `backbone.layer3.5`, a residual block; stem, neck and heads by name.

    NanoDet has the groups `stem`, `stages.1`, `lateral.1` and `heads.1`.
    """
    if parameter.startswith(NANODET):
        return ".".join(parameter.removeprefix(NANODET).split(".")[:2]).removesuffix(".conv")
    parts = parameter.split(".")
    if parts[0] == "backbone":
        return ".".join(parts[:3]) if parts[1].startswith("layer") else "backbone.stem"
    if parts[0] == "head":
        return ".".join(parts[:3]) + ("" if parts[3] == "fc" else ".memory")
    return parts[0]


def quantized_weights(
    weight: npt.NDArray[np.float32],
    largest: int,
    at_least: npt.NDArray[np.float64] | float = 1e-12,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Weights as int8 and one scale per output channel, which is the first axis.

    Args:
        weight: of a convolution or of a matrix product, output channels first.
        largest: absolute integer value that the largest weight of each channel gets.
        at_least: lower bound of the scales.
    """
    others = tuple(range(1, weight.ndim))
    scale = np.maximum(np.abs(weight).max(axis=others) / largest, at_least).astype(np.float32)
    whole = np.rint(weight / scale.reshape(-1, *[1] * len(others)))
    return np.clip(whole, -largest, largest).astype(np.int8), scale


def array_of(graph: Graph, name: str) -> npt.NDArray[Any]:
    """The values of a constant."""
    return np.asarray(numpy_helper.to_array(graph.weights[name]))

"""Nodes and constants that quantise a graph."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper


def dequantized(tensor: str) -> str:
    """Name of a tensor after quantising and dequantising."""
    return f"{tensor}_dequantized"


class QuantizedNodes:
    """The nodes of a quantised graph, in order, and its new constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, node: Any) -> None:
        """Append a node."""
        self.nodes.append(node)

    def pair(self, tensor: str, scale: np.float32, zero: npt.NDArray[Any], source: str | None = None) -> None:
        """Quantise an activation and dequantise it again: one scale; the zero point has the integer type.

        Args:
            source: another name of the same values, to be read in its place.
        """
        factor = self.constant(f"{tensor}_scale", np.asarray(scale))
        offset = self.constant(f"{tensor}_zero", zero)
        whole = f"{tensor}_quantized"
        self.add(
            helper.make_node(
                "QuantizeLinear", [source or tensor, factor, offset], [whole], f"{tensor}_quantize"
            )
        )
        outputs = [dequantized(tensor)]
        self.add(
            helper.make_node("DequantizeLinear", [whole, factor, offset], outputs, f"{tensor}_dequantize")
        )

    def stored(self, name: str, whole: npt.NDArray[Any], scale: npt.NDArray[np.float32]) -> str:
        """An integer constant with a scale for each of its first axis, and the node that dequantises it.

        Returns:
            The dequantised tensor's name.
        """
        inputs = [
            self.constant(f"{name}_quantized", whole),
            self.constant(f"{name}_scale", scale),
            self.constant(f"{name}_zero", np.zeros(scale.shape, whole.dtype)),
        ]
        output = dequantized(name)
        self.add(helper.make_node("DequantizeLinear", inputs, [output], f"{name}_dequantize", axis=0))
        return output

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a constant; returns its name."""
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def with_nodes(model: Any, nodes: Iterable[Any], constants: Iterable[Any]) -> Any:
    """A copy of a model with these nodes and constants, without unused constants."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    inner = [
        a.g for node in changed.graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH
    ]
    used = {name for graph in (changed.graph, *inner) for node in graph.node for name in node.input}
    kept = [each for each in (*changed.graph.initializer, *constants) if each.name in used]
    del changed.graph.initializer[:]
    changed.graph.initializer.extend(kept)
    return changed

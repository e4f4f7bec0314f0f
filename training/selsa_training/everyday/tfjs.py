"""Read the detector's weights from their TensorFlow.js graph model."""

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from selsa_training.everyday.nanodet import NanoDet

Array = npt.NDArray[np.float32]
_TYPES: Final = {"float16": "<f2", "float32": "<f4", "int32": "<i4"}


def read_nanodet(graph: Path, weights: Path) -> NanoDet:
    """The network with the weights of `nanodet.json` and `nanodet.bin`, unchanged, in evaluation mode.

    The file has float16; every value is exact in float32.

    Raises:
        ValueError: the graph is not NanoDet-g's: a convolution is missing, extra or of another shape.
    """
    document = json.loads(graph.read_text())
    tensors = _read_tensors(document["weightsManifest"][0]["weights"], weights.read_bytes())
    pairs = _convolutions(document["modelTopology"]["node"])
    network = NanoDet()
    convolutions = list(network.convolutions())
    if len(pairs) != len(convolutions):
        raise ValueError(f"{graph}: {len(pairs)} convolutions, NanoDet-g has {len(convolutions)}")
    with torch.no_grad():
        for (kernel, bias), module in zip(pairs, convolutions, strict=True):
            # TensorFlow.js: height, width, inputs, outputs. Torch: outputs, inputs, height, width.
            weight = torch.from_numpy(tensors[kernel].transpose(3, 2, 0, 1).copy())
            if weight.shape != module.weight.shape or module.bias is None:
                raise ValueError(
                    f"{graph}: {kernel} is {list(weight.shape)}, not {list(module.weight.shape)}"
                )
            module.weight.copy_(weight)
            module.bias.copy_(torch.from_numpy(tensors[bias]))
    return network.eval().requires_grad_(requires_grad=False)


def _convolutions(nodes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(kernel, bias) names of the convolutions, in the order of their numbers."""
    bias_of = {node["input"][0]: node["input"][1] for node in nodes if node["op"] == "Add"}
    convolutions = [node for node in nodes if node["op"] == "Conv2D"]
    convolutions.sort(key=lambda node: int([*node["name"].rsplit("_", 1), "0"][1]))
    return [(node["input"][1], bias_of[node["name"]]) for node in convolutions]


def _read_tensors(described: list[dict[str, Any]], raw: bytes) -> dict[str, Array]:
    tensors, offset = {}, 0
    for each in described:
        stored = each.get("quantization", each)["dtype"]
        count = math.prod(each["shape"])
        values = np.frombuffer(raw, _TYPES[stored], count, offset)
        offset += values.nbytes
        tensors[each["name"]] = values.reshape(each["shape"]).astype(np.float32)
    return tensors

"""ONNX translations for the native graphs: only operators that every TensorRT has.

They replace those of `selsa_export.graphs.operators` when a native graph is written. The model is the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from onnxscript import opset18 as op

from selsa_export.graphs.native_suppression import DECIDED, greedy_suppression

# Importing the operator registers it with torch.
from selsa_training.model import nms as _nms

# Upper limit of K in TensorRT's TopK.
LARGEST_TOPK: Final = 3840
assert _nms.greedy_nms is not None


def _top(scores: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Sequence[Any]:  # noqa: A002, FBT001, FBT002  the names are torch's
    """`torch.topk` in several passes of at most `LARGEST_TOPK`; each pass is masked out of the next.

    The passes together have the order of a single pass, also for equal scores, if the runtime's `TopK` takes
    the lower index first, as the ONNX standard requires. OpenVINO's does not.
    """
    assert largest
    assert sorted
    values, places = [], []
    while k > 0:
        best, place = op.TopK(scores, op.Constant(value_ints=[min(k, LARGEST_TOPK)]), axis=dim)
        values.append(best)
        places.append(place)
        k -= LARGEST_TOPK
        if k > 0:
            gone = op.Expand(op.Constant(value_float=DECIDED), op.Shape(place))
            scores = op.ScatterElements(scores, place, gone, axis=dim)
    if len(values) == 1:
        return values[0], places[0]
    return op.Concat(*values, axis=dim), op.Concat(*places, axis=dim)


NATIVE_TRANSLATIONS: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    torch.ops.selsa.greedy_nms.default: greedy_suppression,
    torch.ops.aten.topk.default: _top,
}

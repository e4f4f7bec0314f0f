"""ONNX translations of the model's operators: for ONNX Runtime and OpenVINO, and for native graphs.

The exporter traces a translation into the graph where it finds the operator. The translations use only
operators of the ONNX standard; those for native graphs only operators that every TensorRT has.
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


def _greedy_nms(
    boxes: Any,
    scores: Any,
    iou_threshold: float,
    score_threshold: float,
    max_output: int,
) -> Sequence[Any]:
    """`NonMaxSuppression` over the batch; its list of (frame, class, box) is scattered into [B, max_output].

    The list is ordered by frame, and within a frame by descending score. So a row's rank within its frame is
    its position minus the number of rows of all earlier frames.
    """
    one_class = op.Unsqueeze(scores, op.Constant(value_ints=[1]))
    selected = op.NonMaxSuppression(
        boxes,
        one_class,
        op.Constant(value_ints=[max_output]),
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[score_threshold]),
    )
    frame = op.Gather(selected, op.Constant(value_int=0), axis=1)
    index = op.Gather(selected, op.Constant(value_int=2), axis=1)
    batch = op.Shape(scores, start=0, end=1)
    zeros = op.Expand(op.Constant(value_ints=[0]), batch)
    per_frame = op.ScatterElements(
        zeros, frame, op.Expand(op.Constant(value_ints=[1]), op.Shape(frame)), reduction="add"
    )
    before = op.CumSum(per_frame, op.Constant(value_int=0), exclusive=1)
    position = op.Range(op.Constant(value_int=0), op.Squeeze(op.Shape(frame)), op.Constant(value_int=1))
    rank = op.Sub(position, op.Gather(before, frame))
    where = op.Concat(
        op.Unsqueeze(frame, op.Constant(value_ints=[1])),
        op.Unsqueeze(rank, op.Constant(value_ints=[1])),
        axis=1,
    )
    shape = op.Concat(batch, op.Constant(value_ints=[max_output]), axis=0)
    empty = op.Expand(op.Constant(value_ints=[0]), shape)
    indices = op.ScatterND(empty, where, index)
    kept = op.ScatterND(empty, where, op.Expand(op.Constant(value_ints=[1]), op.Shape(frame)))
    return indices, op.Cast(kept, to=9)  # 9 is TensorProto.BOOL


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


Translations = dict[Callable[..., Any], Callable[..., Any]]
TRANSLATIONS: Final[Translations] = {
    torch.ops.selsa.greedy_nms.default: _greedy_nms,
}
NATIVE_TRANSLATIONS: Final[Translations] = {
    torch.ops.selsa.greedy_nms.default: greedy_suppression,
    torch.ops.aten.topk.default: _top,
}

"""Exact greedy suppression with operators that every runtime has: an ONNX loop over windows of candidates.

TensorRT's own suppression considers at most 5,000 boxes, and its output shape depends on the data.
TensorRT-RTX has no suppression. This one equals `selsa_training.model.nms.greedy_nms`. Equal scores have the
same order only if `TopK` takes the lower index first. The ONNX standard requires that, and ONNX Runtime does
it. OpenVINO 2026.4 does not; these graphs never run on it.

Each iteration takes the `WINDOW` best undecided boxes. Inside the window it repeats two steps three times:
keep every box that no higher undecided box overlaps, and drop every box that a kept box overlaps. Then it
drops all other boxes that a kept box overlaps. A kept box is final, because no higher undecided box overlaps
it. Every iteration decides at least its best box, so the loop ends. It ends early when enough boxes are kept
with scores above every undecided box. No matrix over all pairs of candidates is needed.

Shape legend of the functions: B frames, N candidates, M rows of the window.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnxscript import FLOAT, INT64, ir, script
from onnxscript import opset18 as op

WINDOW: Final = 64
# Lower than every score; marks a box that is decided or is not a candidate.
DECIDED: Final = -1e30


@script(default_opset=op)  # type: ignore[untyped-decorator]
def _settle(
    left: FLOAT[...],
    top: FLOAT[...],
    right: FLOAT[...],
    bottom: FLOAT[...],
    area: FLOAT[...],
    scores: FLOAT[...],
    iou: FLOAT[...],
    floor: FLOAT[...],
    window: INT64[...],
    wanted: FLOAT[...],
    earlier: FLOAT[...],
    decided: FLOAT[...],
) -> FLOAT[...]:
    """The scores of the kept boxes, `decided` for all other boxes: [B, N].

    Args: corners and area [B, 1, N]; scores [B, N], `decided` for a box that is no candidate; window [1];
        wanted [1, 1]; earlier [1, M, M], which is 1 where the column comes before the row; the others are
        scalars. This function must not call other functions, because the exporter would not export them.
    """
    zero, one = op.Constant(value_float=0.0), op.Constant(value_float=1.0)
    rows, columns, square = op.Constant(value_ints=[1]), op.Constant(value_ints=[2]), op.Shape(earlier)
    remaining = op.Identity(scores)
    accepted = op.Min(scores, decided)
    go = op.ReduceMax(scores, keepdims=0) > floor
    while go:
        best, place = op.TopK(remaining, window, axis=1)
        across = op.Unsqueeze(place, rows)
        # Each box of the window against every box: [B, M, N], 1 where the IoU is too high. 0 / 0 gives 0.
        right_most = op.Min(right, op.Transpose(op.GatherElements(right, across, axis=2), perm=[0, 2, 1]))
        left_most = op.Max(left, op.Transpose(op.GatherElements(left, across, axis=2), perm=[0, 2, 1]))
        bottom_most = op.Min(bottom, op.Transpose(op.GatherElements(bottom, across, axis=2), perm=[0, 2, 1]))
        top_most = op.Max(top, op.Transpose(op.GatherElements(top, across, axis=2), perm=[0, 2, 1]))
        areas = area + op.Transpose(op.GatherElements(area, across, axis=2), perm=[0, 2, 1])
        shared = op.Relu(right_most - left_most) * op.Relu(bottom_most - top_most)
        overlap = op.Cast(shared / (areas - shared) > iou, to=1)
        # Within the window, [B, M, M]: 1 where a higher box overlaps.
        above = earlier * op.GatherElements(overlap, op.Expand(across, square), axis=2)
        undecided = op.Cast(op.Unsqueeze(best, columns) > floor, to=1)
        keep = undecided * (one - op.Min(op.MatMul(above, undecided), one))
        kept = keep
        undecided = (undecided - keep) * (one - op.Min(op.MatMul(above, keep), one))
        keep = undecided * (one - op.Min(op.MatMul(above, undecided), one))
        kept = kept + keep
        undecided = (undecided - keep) * (one - op.Min(op.MatMul(above, keep), one))
        keep = undecided * (one - op.Min(op.MatMul(above, undecided), one))
        kept = kept + keep
        undecided = (undecided - keep) * (one - op.Min(op.MatMul(above, keep), one))
        keep = undecided * (one - op.Min(op.MatMul(above, undecided), one))
        kept = kept + keep
        # Kept boxes and the boxes that they overlap are now decided.
        is_kept = op.Squeeze(kept, columns) > zero
        before = op.GatherElements(accepted, place, axis=1)
        accepted = op.ScatterElements(accepted, place, op.Where(is_kept, best, before), axis=1)
        remaining = op.ScatterElements(remaining, place, op.Where(is_kept, decided, best), axis=1)
        hit = op.Squeeze(op.MatMul(op.Transpose(kept, perm=[0, 2, 1]), overlap), rows) > zero
        remaining = op.Where(hit, decided, remaining)
        highest = op.ReduceMax(remaining, rows, keepdims=1)
        higher = op.ReduceSum(op.Cast(accepted > highest, to=1), rows, keepdims=1)
        unfinished = op.And(highest > floor, higher < wanted)
        go = op.ReduceMax(op.Cast(unfinished, to=1), keepdims=0) > zero
    return accepted


def greedy_suppression(
    boxes: Any,
    scores: Any,
    iou_threshold: float,
    score_threshold: float,
    max_output: int,
) -> Sequence[Any]:
    """Translates `selsa::greedy_nms`. All but the loop, a function, is traced into the graph."""
    boxes, scores = _filled(boxes, scores, max(WINDOW, max_output))
    floor = op.Constant(value_float=score_threshold)
    decided = op.Constant(value_float=DECIDED)
    candidates = op.Where(op.Greater(scores, floor), scores, decided)
    # One row per edge, [B, 1, N].
    turned = op.Transpose(boxes, perm=[0, 2, 1])
    edges = [op.Gather(turned, op.Constant(value_ints=[i]), axis=1) for i in range(4)]
    area = op.Mul(op.Sub(edges[2], edges[0]), op.Sub(edges[3], edges[1]))
    earlier = np.tril(np.ones((1, WINDOW, WINDOW), np.float32), -1)
    accepted = _settle(
        *edges,
        area,
        candidates,
        op.Constant(value_float=float(_not_above(iou_threshold))),
        floor,
        op.Constant(value_ints=[WINDOW]),
        op.Constant(value=_tensor(np.full((1, 1), max_output, np.float32))),
        op.Constant(value=_tensor(earlier)),
        decided,
    )
    best, places = op.TopK(accepted, op.Constant(value_ints=[max_output]), axis=1)
    kept = op.Greater(best, floor)
    return op.Where(kept, places, op.Constant(value_int=0)), kept


def _filled(boxes: Any, scores: Any, count: int) -> tuple[Any, Any]:
    """Append `count` rows that are no candidates, unless there are known to be at least `count` rows."""
    known = scores.shape[1] if scores.shape is not None else None
    if isinstance(known, int) and known >= count:
        return boxes, scores
    batch = op.Shape(scores, start=0, end=1)
    more = op.Concat(batch, op.Constant(value_ints=[count]), axis=0)
    boxes_more = op.Concat(batch, op.Constant(value_ints=[count, 4]), axis=0)
    fill = op.Expand(op.Constant(value_float=DECIDED), more)
    return (
        op.Concat(boxes, op.Expand(op.Constant(value_float=0.0), boxes_more), axis=1),
        op.Concat(scores, fill, axis=1),
    )


def _not_above(threshold: float) -> np.float32:
    """The largest float32 that is not above `threshold`, so that no float32 lies between the two."""
    rounded = np.float32(threshold)
    return rounded if float(rounded) <= threshold else np.nextafter(rounded, np.float32(-np.inf))


def _tensor(array: npt.NDArray[np.float32]) -> Any:
    return ir.tensor(array)

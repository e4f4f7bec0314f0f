"""Tubes: detections of one class that follow each other from frame to frame, confirmed objects or not.

A tracker decides which detections are objects. A tube links every detection, weak ones too, because a weak
detection between strong ones is what rescoring looks for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from selsa_bundle.tracks.geometry import Float, Int, enlarged, match, overlaps
from selsa_bundle.tracks.observation import Observation

# Lowest mean of the overlap of two boxes and of the overlap of the same boxes, enlarged.
LEAST: Final = 0.1
# Enlarged boxes overlap where fast objects just miss.
ENLARGED: Final = 0.3
NONE: Final = -1


@dataclass(slots=True, eq=False)
class TubeFrame:
    """A frame whose detections are links of tubes.

    Attributes:
        seen: the detections.
        before: int64 [N], the row of the same tube in the frame before; `NONE`: the tube begins here.
        after: int64 [N], its row in the frame after; `NONE`: the tube ends here, or that frame is not known.
        moves: float32 [N, 2], pixels from the frame before to this one; 0 where a tube begins.
    """

    seen: Observation
    before: Int
    after: Int
    moves: Float


def linked_to(last: TubeFrame | None, seen: Observation) -> TubeFrame:
    """The next frame, its tubes linked to those of the frame before; `last.after` is set.

    Args:
        last: the frame before; None for the first frame.
        seen: the detections of the next frame; no tube survives a cut.
    """
    count = len(seen.scores)
    frame = TubeFrame(
        seen, np.full(count, NONE, np.int64), np.full(count, NONE, np.int64), np.zeros((count, 2), np.float32)
    )
    if last is None or seen.cut or not count or not len(last.seen.scores):
        return frame
    predicted = last.seen.boxes + np.tile(last.moves, 2)
    exact = overlaps(predicted, seen.boxes)
    wide = overlaps(enlarged(predicted, ENLARGED), enlarged(seen.boxes, ENLARGED))
    same_class = last.seen.labels[:, None] == seen.labels[None]
    pairs = match(np.where(same_class, (exact + wide) / 2, np.float32(-1)), LEAST)
    if pairs:
        rows, columns = np.array(pairs, np.int64).T
        last.after[rows], frame.before[columns] = columns, rows
        frame.moves[columns] = _middles(seen.boxes[columns]) - _middles(last.seen.boxes[rows])
    return frame


def _middles(boxes: Float) -> Float:
    middles: Float = (boxes[:, :2] + boxes[:, 2:]) * np.float32(0.5)
    return middles

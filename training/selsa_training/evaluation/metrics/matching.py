"""Which detection found which object: once per IoU threshold, for every metric and group of objects."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_training.data.records import DataSet
from selsa_training.evaluation.metrics.detections import Detections

Int = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

# From this overlap on an object is found.
LEAST_IOU: Final = 0.5
NOTHING: Final = -1
# Matched to an ignored object: neither right nor wrong.
CROWD: Final = -2


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The result of matching M detections.

    Attributes:
        hit: int64 [M], number of the object that was found, `NOTHING`, or `CROWD`.
        nearest: int64 [M], of a detection without a hit: the object of its class and frame that it overlaps
            most, found or not; `NOTHING` if it overlaps none.
    """

    hit: Int
    nearest: Int


def match_detections(data: DataSet, detections: Detections, *, per_class: int | None = None) -> Matches:
    """Match detections to objects of their class, frame by frame, best score first.

    A detection finds the free object that it overlaps most, if by `LEAST_IOU` or more. An object is found
    once. Where none is left, an ignored object may absorb the detection, as often as needed; then the overlap
    is measured in shares of the detection. PASCAL VOC's, ImageNet VID's and COCO's rules agree on this.

    Args:
        per_class: at most that many detections per frame and class, the best; others are `CROWD`.
    """
    hit = np.full(len(detections.frame), NOTHING, np.int64)
    nearest = hit.copy()
    for frame in detections.frames:
        rows = detections.rows_of(int(frame))
        objects = data.objects(int(frame))
        mine = rows.start + np.argsort(-detections.scores[rows], kind="stable")
        if per_class is not None:
            surplus = _rank_in_class(detections.labels[mine]) >= per_class
            hit[mine[surplus]] = CROWD
            mine = mine[~surplus]
        boxes, same = detections.boxes[mine], detections.labels[mine][:, None] == objects.labels
        wanted, crowd = ~objects.ignored, objects.ignored
        # Objects of another class get the lowest overlap, so all classes are matched at once.
        found, closest = _assign(_overlap(boxes, objects.boxes[wanted]) * same[:, wanted], LEAST_IOU)
        index = np.append(objects.index[wanted], NOTHING)
        hit[mine], nearest[mine] = index[found], index[closest]
        if crowd.any():
            share = _overlap(boxes, objects.boxes[crowd], of_detection=True) * same[:, crowd]
            hit[mine[(share.max(axis=1) >= LEAST_IOU) & (found == NOTHING)]] = CROWD
    return Matches(hit, nearest)


def _rank_in_class(labels: Int) -> Int:
    """For labels in order of score: how many of the same class come before each."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        same = labels == label
        rank[same] = np.arange(same.sum())
    return rank


def _assign(overlap: Float64, least: float) -> tuple[Int, Int]:
    """Per row, in order: the free column of largest overlap, and the column of largest overlap."""
    found = np.full(len(overlap), NOTHING, np.int64)
    closest = found.copy()
    if not overlap.size:
        return found, closest
    largest = overlap.argmax(axis=1)
    closest = np.where(overlap.max(axis=1) > 0, largest, NOTHING)
    free = overlap.copy()
    for row in np.flatnonzero(overlap.max(axis=1) >= least):
        # The last of equal overlaps, as in COCO's evaluation.
        column = free.shape[1] - 1 - int(free[row, ::-1].argmax())
        if free[row, column] >= least:
            found[row] = column
            free[:, column] = -1
    return found, closest


def _overlap(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], *, of_detection: bool = False
) -> Float64:
    """IoU [N, M] of boxes xyxy, or their intersection in shares of `a`."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    low = np.maximum(a64[:, None, :2], b64[None, :, :2])
    high = np.minimum(a64[:, None, 2:], b64[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = (np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (a64, b64))
    whole = area_a[:, None] + (0 if of_detection else area_b[None] - shared)
    overlap: Float64 = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return overlap

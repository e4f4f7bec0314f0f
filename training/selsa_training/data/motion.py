"""The speed of objects, as measured in ImageNet VID's evaluation by speed."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_training.data.records import UNKNOWN_TRACK, DataSet

MOTION_WINDOW: Final = 10

# (above, up to) motion IoU: FGFA (Zhu et al., ICCV 2017), section 5.1.
SPEEDS: Final[dict[str, tuple[float, float]]] = {
    "slow": (0.9, 1.0),
    "medium": (0.7, 0.9),
    "fast": (-1.0, 0.7),
}

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]


def motion_iou(data: DataSet) -> Float:
    """`self_iou` of every object of a data set: float32 [N]."""
    frame = data.frame_of_object
    video = np.searchsorted(data.first_frame, frame, side="right") - 1
    # One number per track of the data set; tracks are int32.
    track = np.where(data.tracks == UNKNOWN_TRACK, UNKNOWN_TRACK, (video << 32) + data.tracks)
    return self_iou(track, frame, data.boxes)


def self_iou(track: Int, frame: Int, boxes: Float) -> Float:
    """Mean IoU of every object with itself in the frames up to `MOTION_WINDOW` before and after it.

    Frames in which the object is not annotated do not count. FGFA publishes these numbers for ImageNet VID's
    validation set. Its boxes are inclusive pixels (+1); the boxes here are edges.

    Args:
        track: int64 [N], which objects are the same one; -1: unknown.
        frame: int64 [N], temporal position.
        boxes: float32 [N, 4], xyxy in pixels.

    Returns:
        float32 [N]; NaN where the track is unknown or the object is in no other of these frames.
    """
    # Sort the rows by track, then by frame.
    order = np.lexsort((frame, track))
    track, frame, sorted_boxes = track[order], frame[order], boxes[order].astype(np.float64)
    total, count = np.zeros(len(order)), np.zeros(len(order))
    # A track is annotated once per frame, so partners are at most `MOTION_WINDOW` rows away.
    for step in range(1, min(MOTION_WINDOW, len(order) - 1) + 1):
        same = (track[step:] == track[:-step]) & (track[step:] != UNKNOWN_TRACK)
        here = np.flatnonzero(same & (frame[step:] - frame[:-step] <= MOTION_WINDOW))
        iou = _pairwise_iou(sorted_boxes[here], sorted_boxes[here + step])
        for end in (here, here + step):
            total[end] += iou
            count[end] += 1
    result = np.full(len(order), np.nan, np.float32)
    result[order] = np.divide(total, count, out=np.full(len(order), np.nan), where=count > 0)
    return result


def with_known_motion(data: DataSet) -> DataSet:
    """The data set with motion IoU computed for the objects whose source does not have it."""
    missing = np.isnan(data.motion)
    if not missing.any():
        return data
    return replace(data, motion=np.where(missing, motion_iou(data), data.motion))


def _pairwise_iou(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1)
    iou: npt.NDArray[np.float64] = overlap / (areas - overlap)
    return iou

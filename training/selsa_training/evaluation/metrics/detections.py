"""Detections of many frames in one form, for every metric."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

FrameDetections = tuple[Float, Float, Int]
"""boxes float32 [N, 4] xyxy in pixels of the stored frame, scores float32 [N], labels int64 [N]."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """M detections in K frames of a data set.

    Attributes:
        frames: int64 [K], the frames that were looked at, ascending, each once. Objects in other frames do
            not count as missed.
        frame: int64 [M], the frame of each detection; ascending, one of `frames`.
        boxes: float32 [M, 4], xyxy in pixels of the stored frame.
        scores: float32 [M].
        labels: int64 [M].
    """

    frames: Int
    frame: Int
    boxes: Float
    scores: Float
    labels: Int

    def __post_init__(self) -> None:
        count = len(self.frame)
        shapes = (self.boxes.shape, self.scores.shape, self.labels.shape)
        if shapes != ((count, 4), (count,), (count,)):
            raise ValueError(f"{count} detections with boxes, scores and labels of {shapes}")
        if (np.diff(self.frames) <= 0).any() or (np.diff(self.frame) < 0).any():
            raise ValueError("frames must ascend and be named once")
        if not np.isin(self.frame, self.frames).all():
            raise ValueError("a detection is in a frame that was not looked at")
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            raise ValueError("a box or score is not finite")

    @classmethod
    def of(cls, by_frame: Mapping[int, FrameDetections]) -> "Detections":
        """Put together what was found, frame number -> detections, in any order."""
        frames = np.asarray(sorted(by_frame), np.int64)
        # The empty part gives shape and type if there are no detections.
        none = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        found = [none, *(by_frame[frame] for frame in frames.tolist())]
        return cls(
            frames,
            np.repeat(frames, [len(scores) for _, scores, _ in found[1:]]),
            np.concatenate([boxes for boxes, _, _ in found]).astype(np.float32),
            np.concatenate([scores for _, scores, _ in found]).astype(np.float32),
            np.concatenate([labels for _, _, labels in found]).astype(np.int64),
        )

    def rows_of(self, frame: int) -> slice:
        """Which detections are in a frame."""
        first, last = np.searchsorted(self.frame, [frame, frame + 1])
        return slice(int(first), int(last))

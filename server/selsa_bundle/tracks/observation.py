"""The detections of one frame, as linking, rescoring and filling take and give them."""

from dataclasses import dataclass, replace

import numpy as np

from selsa_bundle.tracks.geometry import Float, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The detections of one frame.

    Attributes:
        index: of the frame in the source.
        time: seconds.
        boxes: float32 [N, 4], xyxy in source pixels.
        scores: float32 [N], descending.
        labels: int64 [N].
        looks: float32 [N, C], unit vectors; None without appearance.
        cut: whether a cut lies before this frame.
    """

    index: int
    time: float | None
    boxes: Float
    scores: Float
    labels: Int
    looks: Float | None = None
    cut: bool = False

    def take(self, rows: Int) -> "Observation":
        """The detections in these rows, in their order; int64 [M]."""
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            looks=None if self.looks is None else self.looks[rows],
        )

    def with_values(self, boxes: Float, scores: Float) -> "Observation":
        """The same detections with other boxes and scores, by score descending."""
        order = np.argsort(-scores, kind="stable")
        return replace(self, boxes=boxes, scores=scores).take(order)

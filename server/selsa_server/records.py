"""From engine outputs to records of the wire format."""

from collections.abc import Sequence

import numpy as np

from selsa_bundle.engine import DetectionBatch
from selsa_server.schema import Box, Detection, DetectParams

__all__ = ["DetectionFilter"]


class DetectionFilter:
    """What of a frame's detections is returned: score threshold, classes and how many at most."""

    def __init__(self, params: DetectParams, classes: Sequence[str]) -> None:
        self._names = tuple(classes)
        self._threshold = params.score_threshold
        self._limit = params.max_detections
        wanted = set(params.classes)
        self._wanted = np.array([not wanted or name in wanted for name in classes])

    def __call__(self, batch: DetectionBatch, frame: int) -> tuple[Detection, ...]:
        """The detections of the frame at position `frame` of a batch, by score descending."""
        count = int(batch.count[frame])
        scores, labels = batch.scores[frame, :count], batch.labels[frame, :count]
        chosen = np.flatnonzero((scores >= self._threshold) & self._wanted[labels])[: self._limit]
        return tuple(
            Detection(
                box=Box(x1=x1, y1=y1, x2=x2, y2=y2),
                score=_shortest(scores[i]),
                class_id=int(labels[i]),
                class_name=self._names[labels[i]],
            )
            for i in chosen
            for x1, y1, x2, y2 in [map(_shortest, batch.boxes[frame, i])]
        )


def _shortest(value: np.float32) -> float:
    """The shortest decimal that is this float32: 12.3 rather than 12.300000190734863, and nothing is lost."""
    return float(str(value))

"""From engine outputs to records of the wire format."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from selsa_bundle.engine import DetectionBatch, Float, Int
from selsa_server.schema.detect import DetectParams


class DetectionFilter:
    """Filters the detections of a frame by score, class and number."""

    def __init__(self, params: DetectParams, classes: Sequence[str]) -> None:
        self._names = tuple(classes)
        self._threshold = params.score_threshold
        self._limit = params.max_detections
        wanted = set(params.classes)
        self._wanted = np.array([not wanted or name in wanted for name in classes])

    def rows_of_classes(self, batch: DetectionBatch, frame: int) -> Int:
        """int64 [M], the rows of every wanted class of the frame at position `frame`, whatever the score."""
        return np.flatnonzero(self._wanted[batch.labels[frame, : int(batch.count[frame])]])

    def rows(self, batch: DetectionBatch, frame: int) -> Int:
        """int64 [M], the rows to return of the frame at position `frame` of a batch, by score descending."""
        wanted = self.rows_of_classes(batch, frame)
        return wanted[self.kept(batch.scores[frame, wanted])]

    def kept(self, scores: Float) -> Int:
        """int64 [M], the rows to return of detections of wanted classes, by score descending."""
        return np.flatnonzero(scores >= self._threshold)[: self._limit]

    def detections(self, boxes: Float, scores: Float, labels: Int) -> list[dict[str, Any]]:
        """The fields of a `Detection` for each of N boxes [N, 4], scores [N] and labels [N]."""
        numbers = _shortest(np.column_stack([boxes, scores]))
        return [
            {
                "box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2},
                "score": score,
                "class_id": label,
                "class_name": self._names[label],
            }
            for (x1, y1, x2, y2, score), label in zip(numbers, labels.tolist(), strict=True)
        ]


def _shortest(values: npt.NDArray[np.float32]) -> list[list[float]]:
    """The shortest decimals that round to these float32: 12.3 instead of 12.300000190734863.

    orjson writes float32 like that, in less time than `str` of each number.
    """
    numbers: list[list[float]] = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return numbers

"""The published code's outputs, and what it takes to agree with them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selsa_bundle.engine import DetectionBatch
from selsa_bundle.gate.agreement import Agreement, box_iou, compare_detections, match_boxes
from selsa_server.schema.detect import FrameRecord

EXPECTED = Path(__file__).parent / "expected"
SCORE_FLOOR = 0.01

Arrays = dict[str, npt.NDArray[Any]]
Detections = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Published:
    """Detections of the published code on a clip's key frames."""

    arrays: Arrays
    score_floor: float = SCORE_FLOOR

    @classmethod
    def read(cls, path: Path, score_floor: float = SCORE_FLOOR) -> "Published":
        with np.load(path) as file:
            return cls(dict(file), score_floor)

    @property
    def key_frames(self) -> list[int]:
        return [int(i) for i in self.arrays["frame_ids"]]

    @property
    def references(self) -> list[int]:
        return [int(i) for i in self.arrays["ref_ids"]]

    def detections(self, frame: int) -> Detections:
        rows = self.arrays["det_frame"] == frame
        dets = self.arrays["dets"][rows]
        return dets[:, :4], dets[:, 4], self.arrays["labels"][rows]

    def assert_equals(self, found: dict[int, Detections], frames: Iterable[int] | None = None) -> None:
        """Every published detection of score >= the floor is ours, and none beside them.

        Same label, IoU >= 0.99, score within 1e-3, corners within 0.1 px of the original image.
        """
        agreement = Agreement()
        for frame in self.key_frames if frames is None else frames:
            compare_detections(
                agreement, self.detections(frame), found[frame], threshold=self.score_floor, iou_floor=0.99
            )
        assert agreement.compared > 0
        assert agreement.unmatched == 0, agreement.details
        # Ours at the floor whose published partner lies just below it is no surplus.
        assert agreement.extra == 0
        assert agreement.iou >= 0.99
        assert agreement.score <= 1e-3
        assert agreement.corner <= 0.1


def of_batch(batch: DetectionBatch, position: int = 0) -> Detections:
    count = int(batch.count[position])
    return batch.boxes[position, :count], batch.scores[position, :count], batch.labels[position, :count]


def of_record(record: FrameRecord) -> Detections:
    boxes = [[d.box.x1, d.box.y1, d.box.x2, d.box.y2] for d in record.detections]
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([d.score for d in record.detections], np.float32),
        np.array([d.class_id for d in record.detections], np.int64),
    )


def partners(published: npt.NDArray[np.float32], ours: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """For each published proposal [N, 4] the row of ours that is the same box; all must have one."""
    pairs = dict(match_boxes(box_iou(published, ours), 0.99))
    assert len(pairs) == len(published), f"{len(published) - len(pairs)} proposals have no partner"
    return np.array([pairs[i] for i in range(len(published))])


def relative(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    assert found.shape == wanted.shape
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))

"""From engine outputs to what a record says."""

import numpy as np
from pydantic import TypeAdapter

from selsa_bundle.engine import DetectionBatch
from selsa_server.pipeline.detection_filter import DetectionFilter
from selsa_server.schema.detect import Detection, DetectParams

NAMES = ("dog", "fox")


def filtered(params: DetectParams, found: DetectionBatch) -> tuple[Detection, ...]:
    """The detections of the batch's first frame, as records have them."""
    detections = DetectionFilter(params, NAMES)
    rows = detections.rows(found, 0)
    fields = detections.detections(found.boxes[0, rows], found.scores[0, rows], found.labels[0, rows])
    return TypeAdapter(tuple[Detection, ...]).validate_python(tuple(fields))


def batch(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> DetectionBatch:
    """One frame, with a row of padding behind the detections."""
    return DetectionBatch(
        boxes=np.pad(boxes, ((0, 1), (0, 0)))[None],
        scores=np.pad(scores, (0, 1))[None],
        labels=np.pad(labels, (0, 1))[None],
        count=np.array([len(scores)]),
    )


def test_numbers_are_the_shortest_decimals_that_are_the_engines_float32() -> None:
    # Bit patterns of all magnitudes; what is no number does not come out of an engine.
    bits = np.random.default_rng(0).integers(0, 2**32, 40_000, dtype=np.uint32).view(np.float32)
    boxes = bits[np.isfinite(bits)][:36_000].reshape(-1, 4)
    scores = np.linspace(1, 0, len(boxes), dtype=np.float32)
    labels = np.zeros(len(boxes), np.int64)
    found = filtered(DetectParams(score_threshold=0), batch(boxes, scores, labels))
    assert [d.score for d in found] == [float(str(score)) for score in scores]
    corners = [(d.box.x1, d.box.y1, d.box.x2, d.box.y2) for d in found]
    assert corners == [tuple(float(str(value)) for value in box) for box in boxes]


def test_score_threshold_classes_and_number_filter_in_the_order_of_scores() -> None:
    boxes = np.arange(16, dtype=np.float32).reshape(4, 4)
    scores = np.array([0.9, 0.8, 0.7, 0.1], np.float32)
    labels = np.array([1, 0, 1, 1], np.int64)
    params = DetectParams(score_threshold=0.5, classes=("fox",), max_detections=1)
    (found,) = filtered(params, batch(boxes, scores, labels))
    assert (found.class_id, found.class_name, found.score) == (1, "fox", 0.9)
    assert (found.box.x1, found.box.y2) == (0, 3)


def test_a_frame_without_detections_has_none() -> None:
    nothing = batch(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert filtered(DetectParams(), nothing) == ()

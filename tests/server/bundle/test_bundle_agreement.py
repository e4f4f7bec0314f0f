"""Detections are compared box by box."""

import numpy as np
import pytest

from selsa_bundle.engine import FrameBatch
from selsa_bundle.family import FAMILIES
from selsa_bundle.gate.agreement import Agreement, box_iou, compare_detections, compare_proposals

BOXES = np.array([[0, 0, 10, 10], [20, 20, 40, 30]], np.float32)
SCORES = np.array([0.9, 0.5], np.float32)
LABELS = np.array([3, 7], np.int64)


def compared(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> Agreement:
    agreement = Agreement()
    found = (boxes.astype(np.float32), scores.astype(np.float32), labels)
    compare_detections(agreement, (BOXES, SCORES, LABELS), found, threshold=0.1)
    return agreement


def test_order_does_not_matter() -> None:
    found = compared(BOXES[::-1], SCORES[::-1], LABELS[::-1])
    assert (found.compared, found.unmatched, found.extra) == (2, 0, 0)
    assert (found.score, found.corner, found.iou) == (0, 0, 1)


def test_differences_are_the_largest_ones() -> None:
    found = compared(BOXES + np.float32([[0.1], [0.3]]), SCORES + np.float32([0.02, 0.01]), LABELS)
    assert found.corner == pytest.approx(0.3, abs=1e-5)
    assert found.score == pytest.approx(0.02, abs=1e-6)
    assert found.iou < 1


def test_another_label_is_no_partner() -> None:
    found = compared(BOXES, SCORES, np.array([3, 8]))
    assert (found.unmatched, found.extra) == (1, 1)


def test_a_surplus_counts_only_above_the_threshold() -> None:
    boxes = np.concatenate([BOXES, BOXES[:1] + 100, BOXES[:1] + 200])
    found = compared(boxes, np.append(SCORES, [0.05, 0.2]), np.append(LABELS, [1, 1]))
    assert (found.unmatched, found.extra) == (0, 1)


def test_nothing_agrees_with_nothing() -> None:
    agreement = Agreement()
    nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    compare_detections(agreement, nothing, nothing, threshold=0)
    assert agreement == Agreement()


def test_boxes_without_area_are_the_same_where_their_corners_are() -> None:
    line = np.array([[5, 0, 5, 80]], np.float32)
    assert box_iou(line, line + 0.01)[0, 0] == 1
    assert box_iou(line, line + 1)[0, 0] == 0


def test_the_same_box_predicted_from_another_point_is_no_partner() -> None:
    """Which of two points that predict an object is suppressed is a matter of rounding."""
    random = np.random.default_rng(0)
    points = random.normal(size=(1, 2, 128)).astype(np.float32)
    features = {
        "logits": random.normal(size=(1, 2, 80)).astype(np.float32),
        "points": points,
        "keys": random.normal(size=(1, 4, 2, 16)).astype(np.float32),
    }
    want = FrameBatch(boxes=BOXES[None], valid=np.ones((1, 2), np.bool_), **features)
    rounded = want.replaced(points=points * np.float32(1.02))
    found = compare_proposals(want, rounded, 0.5, FAMILIES["one-stage"])
    assert (found.total, found.unmatched) == (2, 0)
    assert found.features["points"] == pytest.approx(0.02, rel=1e-3)
    other = points.copy()
    other[0, 1] = random.normal(size=128)
    found = compare_proposals(want, want.replaced(points=other), 0.5, FAMILIES["one-stage"])
    assert (found.unmatched, found.features["points"]) == (1, 0)

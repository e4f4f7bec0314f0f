"""The parts of the model against what the published code documents of itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selsa_training.config import CONFIGS, AnchorConfig, HeadConfig
from selsa_training.model.boxes import MAX_LOG_RATIO, clip_boxes, decode_boxes
from selsa_training.model.detector import build_detector
from selsa_training.model.nms import greedy_nms
from selsa_training.model.rpn import AnchorGrid
from selsa_training.model.tensor_shapes import expected_shapes


def test_anchors_lie_on_the_cells_corner_ratio_outside_scale_inside() -> None:
    anchors = AnchorGrid(AnchorConfig(), 16)(2, 3)
    assert anchors.shape == (2 * 3 * 12, 4)
    assert anchors[0].tolist() == pytest.approx([-45.2548, -22.6274, 45.2548, 22.6274], abs=1e-4)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centres[12].tolist() == [16, 0]
    assert centres[3 * 12].tolist() == [0, 16]
    width, height = (anchors[5, 2:] - anchors[5, :2]).tolist()
    assert (width, height) == (128, 128)


def test_a_decoded_box_grows_by_the_clamped_factor_at_most() -> None:
    anchor = torch.tensor([[10.0, 10, 20, 20]])
    decoded = decode_boxes(anchor, torch.tensor([[0.0, 0, 99, -99]]), (1.0, 1.0, 1.0, 1.0))
    factor = math.exp(MAX_LOG_RATIO)
    expected = [15 - 5 * factor, 15 - 5 / factor, 15 + 5 * factor, 15 + 5 / factor]
    assert decoded[0].tolist() == pytest.approx(expected)


def test_boxes_are_clipped_to_their_own_frame() -> None:
    boxes = torch.tensor([[[-5.0, -5, 500, 500]], [[-5.0, -5, 500, 500]]])
    clipped = clip_boxes(boxes, torch.tensor([[60, 100], [30, 20]]))
    assert clipped[:, 0].tolist() == [[0, 0, 100, 60], [0, 0, 20, 30]]


def brute_force(boxes: np.ndarray, scores: np.ndarray, iou: float, floor: float, most: int) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] <= floor or len(kept) == most:
            continue
        x1, y1 = np.maximum(boxes[i, :2], boxes[kept, :2]).T if kept else (np.zeros(0), np.zeros(0))
        x2, y2 = np.minimum(boxes[i, 2:], boxes[kept, 2:]).T if kept else (np.zeros(0), np.zeros(0))
        inter = np.clip(x2 - x1, 0, None) * np.clip(y2 - y1, 0, None)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        if not (inter > iou * (areas[i] + areas[kept] - inter)).any():
            kept.append(int(i))
    return kept


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 12))
def test_suppression_of_a_batch_is_the_greedy_one_of_each_frame(seed: int, count: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 24, (2, count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 12, (2, count, 2))], -1).astype(np.float32)
    scores = rng.permutation(2 * count).reshape(2, count).astype(np.float32) / count - 0.3
    indices, kept = greedy_nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5, 0.1, most)
    for frame in range(2):
        expected = brute_force(boxes[frame], scores[frame], 0.5, 0.1, most)
        assert indices[frame][kept[frame]].tolist() == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_the_model_has_exactly_the_tensors_a_checkpoint_is_checked_for(name: str) -> None:
    with torch.device("meta"):
        state = build_detector(CONFIGS[name]).state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == expected_shapes(CONFIGS[name])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="not a multiple of heads"):
        HeadConfig(width=100, heads=3)

"""The SELSA stage of the everyday model: its initial output, and inputs that must not change its output."""

import pytest
import torch
from torch import Tensor

from selsa_training.everyday.config import EVERYDAY
from selsa_training.everyday.detector import EverydayDetector, EverydayFeatures
from selsa_training.everyday.proposals import PADDED_LOGIT
from selsa_training.everyday.stage import Rows
from selsa_training.everyday_training.training import quality_loss

P, ROWS, CLASSES = 64, 32, 80


@pytest.fixture
def detector() -> EverydayDetector:
    torch.manual_seed(0)
    return EverydayDetector(EVERYDAY).eval().requires_grad_(requires_grad=False)


def opened(detector: EverydayDetector) -> EverydayDetector:
    """With a gate that mixes."""
    torch.nn.init.normal_(detector.stage.gate.weight)
    return detector


def features(detector: EverydayDetector, frames: int, seed: int) -> EverydayFeatures:
    generator = torch.Generator().manual_seed(seed)
    points = detector.points(torch.randn(frames, P, 128, generator=generator))
    logits = torch.randn(frames, P, CLASSES, generator=generator) - 4
    boxes = torch.rand(frames, P, 4, generator=generator) * 100
    boxes[..., 2:] += boxes[..., :2]
    return EverydayFeatures(
        boxes, torch.ones(frames, P, dtype=torch.bool), logits, points, detector.key(points)
    )


def bank_of(known: EverydayFeatures) -> Rows:
    rows = known.keys[:, :, :ROWS].transpose(0, 1).flatten(1, 2)[None]
    return Rows(rows, known.logits[:, :ROWS].flatten(0, 1)[None], known.valid[:, :ROWS].flatten()[None])


def test_with_an_untrained_gate_the_logits_equal_those_of_the_frozen_detector(
    detector: EverydayDetector,
) -> None:
    key = features(detector, 2, 1)
    assert torch.equal(detector.mix(key, bank_of(features(detector, 3, 2))), key.logits)


def test_a_frame_in_a_batch_has_the_same_output_as_alone(detector: EverydayDetector) -> None:
    key, bank = features(detector, 3, 1), bank_of(features(opened(detector), 4, 2))
    together = detector.mix(key, bank)
    for frame in range(3):
        alone = detector.mix(EverydayFeatures(*(x[frame : frame + 1] for x in key)), bank)
        assert torch.allclose(together[frame], alone[0], atol=1e-5)


def test_the_order_of_the_reference_frames_does_not_matter(detector: EverydayDetector) -> None:
    key, known = features(opened(detector), 1, 1), features(detector, 4, 2)
    turned = EverydayFeatures(*(x.flip(0) for x in known))
    assert torch.allclose(detector.mix(key, bank_of(known)), detector.mix(key, bank_of(turned)), atol=1e-5)


def test_padding_rows_change_no_output(detector: EverydayDetector) -> None:
    key, known = features(opened(detector), 1, 1), features(detector, 2, 2)
    bank = bank_of(known)
    junk = Rows(
        torch.randn(1, 4, ROWS, 32), torch.full((1, ROWS, CLASSES), PADDED_LOGIT), torch.zeros(1, ROWS) > 0
    )
    more = Rows(
        *(torch.cat(pair, dim) for pair, dim in zip(zip(bank, junk, strict=True), (2, 1, 1), strict=True))
    )
    assert torch.allclose(detector.mix(key, bank), detector.mix(key, more), atol=1e-5)


def test_with_an_empty_bank_a_frame_attends_only_to_itself(detector: EverydayDetector) -> None:
    key = features(opened(detector), 1, 1)
    empty = bank_of(features(detector, 1, 2))._replace(valid=torch.zeros(1, ROWS, dtype=torch.bool))
    other = bank_of(features(detector, 1, 3))._replace(valid=torch.zeros(1, ROWS, dtype=torch.bool))
    assert torch.isfinite(detector.mix(key, empty)).all()
    assert torch.allclose(detector.mix(key, empty), detector.mix(key, other), atol=1e-5)


@pytest.mark.parametrize("size", [(32, 416), (416, 32), (32, 32), (224, 416)])
def test_a_frame_of_any_shape_has_finite_proposals_inside_it(
    detector: EverydayDetector, size: tuple[int, int]
) -> None:
    height, width = size
    frames = torch.randint(0, 255, (1, height, width, 3), dtype=torch.uint8)
    inside = torch.tensor([[height, width]])
    found = detector.frame_stage(detector.normalise(frames, inside), inside)
    assert found.boxes.shape == (1, P, 4)
    assert all(torch.isfinite(x).all() for x in found)
    assert (found.boxes >= 0).all()
    assert (found.boxes <= torch.tensor([width, height] * 2)).all()
    best = found.logits.amax(-1)[found.valid]
    assert (best.diff() <= 0).all()


def test_the_loss_is_zero_if_scores_equal_their_targets() -> None:
    targets = torch.rand(5, CLASSES) * 0.98 + 0.01
    assert loss(targets.logit(), targets) < 1e-4
    assert loss(targets.logit() + 1, targets) > loss(targets.logit() + 0.5, targets) > 0


def test_the_loss_of_a_frame_without_objects_is_finite() -> None:
    assert torch.isfinite(torch.tensor(loss(torch.full((5, CLASSES), -9.0), torch.zeros(5, CLASSES))))


def loss(logits: Tensor, targets: Tensor) -> float:
    return float(quality_loss(logits, targets, 0.05))

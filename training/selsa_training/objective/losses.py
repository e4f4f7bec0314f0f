"""The four losses of every frame as sums, with their divisor."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from selsa_training.model.boxes import encode_boxes
from selsa_training.objective.ground_truth import GroundTruth
from selsa_training.objective.matching import Match
from selsa_training.objective.sampling import Choice

UNIT_STD = (1.0, 1.0, 1.0, 1.0)


class FrameLosses(NamedTuple):
    """Losses of F frames.

    Attributes:
        score: float32 [F], sum of the classification losses of the sampled boxes.
        box: float32 [F], sum of the box losses of the sampled positive boxes.
        divisor: int64 [F], of both.
    """

    score: Tensor
    box: Tensor
    divisor: Tensor

    def means(self, samples: int) -> tuple[Tensor, Tensor]:
        """Mean of both losses over samples; each sample is divided by the divisor of its own frames.

        The published recipe has one sample per process and averages gradients over processes. So this equals
        the published mean for any distribution of the samples over processes and accumulated steps.
        """
        score, box, divisor = (x.reshape(samples, -1).sum(1) for x in self)
        divisor = divisor.clamp(min=1)
        return (score / divisor).mean(), (box / divisor).mean()


def rpn_losses(
    objectness_FN: Tensor,
    deltas_FN4: Tensor,
    anchors_N4: Tensor,
    match: Match,
    choice: Choice,
    truth: GroundTruth,
    *,
    beta: float,
) -> FrameLosses:
    """Binary cross entropy over the sampled anchors, smooth L1 over the positive ones.

    The divisor is max(positive, 1) + max(negative, 1). Source: mmdet 2.28 `RPNHead.loss` and
    `SamplingResult.avg_factor`; Faster R-CNN (Ren et al. 2015), eq. 1.
    """
    score = functional.binary_cross_entropy_with_logits(
        objectness_FN, choice.positive.to(objectness_FN.dtype), reduction="none"
    )
    frame, anchor = choice.positive.nonzero(as_tuple=True)
    target = torch.zeros_like(deltas_FN4)
    target[frame, anchor] = encode_boxes(
        anchors_N4[anchor], truth.boxes[frame, match.object[frame, anchor]], UNIT_STD
    )
    count = choice.positive.sum(1).clamp(min=1) + choice.negative.sum(1).clamp(min=1)
    return FrameLosses(
        _sum(score, choice.positive | choice.negative),
        _box_losses(deltas_FN4, target, choice.positive, beta),
        count,
    )


def head_losses(
    logits_FNK: Tensor,
    deltas_FNC4: Tensor,
    boxes_FN4: Tensor,
    match: Match,
    choice: Choice,
    truth: GroundTruth,
    *,
    std: tuple[float, float, float, float],
    beta: float,
) -> FrameLosses:
    """Cross entropy over the sampled boxes, smooth L1 of the true class's deltas over the positive ones.

    Background is the last class. Source: mmdet 2.28 `BBoxHead.loss` with class-specific regression.
    """
    background = logits_FNK.shape[-1] - 1
    labels = torch.gather(truth.labels, 1, match.object)
    wanted = torch.where(choice.positive, labels, labels.new_tensor(background))
    chosen = choice.positive | choice.negative
    score = functional.cross_entropy(logits_FNK.transpose(1, 2), wanted, reduction="none")
    own = labels[..., None, None].expand(-1, -1, 1, 4)
    deltas_FN4 = torch.gather(deltas_FNC4, 2, own).squeeze(2)
    frame, row = choice.positive.nonzero(as_tuple=True)
    target = torch.zeros_like(deltas_FN4)
    target[frame, row] = encode_boxes(
        boxes_FN4[frame, row], truth.boxes[frame, match.object[frame, row]], std
    )
    return FrameLosses(
        _sum(score, chosen), _box_losses(deltas_FN4, target, choice.positive, beta), chosen.sum(1)
    )


def _box_losses(deltas_FN4: Tensor, target_FN4: Tensor, positive_FN: Tensor, beta: float) -> Tensor:
    losses = functional.smooth_l1_loss(deltas_FN4, target_FN4, reduction="none", beta=beta)
    return _sum(losses.sum(-1), positive_FN)


def _sum(losses_FN: Tensor, chosen_FN: Tensor) -> Tensor:
    """Sum per frame over the chosen boxes. Dense, so that the order of the sum is the same in every run."""
    return torch.where(chosen_FN, losses_FN, losses_FN.new_zeros(())).sum(1)

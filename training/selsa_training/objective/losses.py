"""The four losses, as sums; what they are divided by is decided over all processes together."""

import torch
from torch import Tensor
from torch.nn import functional

from selsa_training.model.boxes import encode_boxes
from selsa_training.objective.ground_truth import GroundTruth
from selsa_training.objective.matching import Match
from selsa_training.objective.sampling import Choice

LossSum = tuple[Tensor, Tensor, Tensor]
"""Sum of the classification losses, sum of the box losses, number of boxes that were learned from."""

UNIT_STD = (1.0, 1.0, 1.0, 1.0)


def rpn_losses(
    objectness_FN: Tensor,
    deltas_FN4: Tensor,
    anchors_N4: Tensor,
    match: Match,
    choice: Choice,
    truth: GroundTruth,
    *,
    beta: float,
) -> LossSum:
    """Binary cross entropy over the chosen anchors, smooth L1 over the positive ones.

    Source: mmdet 2.28 `RPNHead.loss`, Faster R-CNN (Ren et al. 2015), eq. 1.
    """
    chosen = choice.positive | choice.negative
    score = functional.binary_cross_entropy_with_logits(
        objectness_FN[chosen], choice.positive[chosen].to(objectness_FN.dtype), reduction="sum"
    )
    frame, anchor = choice.positive.nonzero(as_tuple=True)
    boxes = truth.boxes[frame, match.object[frame, anchor]]
    target = encode_boxes(anchors_N4[anchor], boxes, UNIT_STD)
    box = functional.smooth_l1_loss(deltas_FN4[frame, anchor], target, reduction="sum", beta=beta)
    return score, box, chosen.sum()


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
) -> LossSum:
    """Cross entropy over the chosen boxes, smooth L1 of the true class's deltas over the positive ones.

    Background is the last class. Source: mmdet 2.28 `BBoxHead.loss` with class-specific regression.
    """
    background = logits_FNK.shape[-1] - 1
    labels = torch.gather(truth.labels, 1, match.object)
    labels = torch.where(choice.positive, labels, labels.new_tensor(background))
    chosen = choice.positive | choice.negative
    score = functional.cross_entropy(logits_FNK[chosen], labels[chosen], reduction="sum")
    frame, row = choice.positive.nonzero(as_tuple=True)
    target = encode_boxes(boxes_FN4[frame, row], truth.boxes[frame, match.object[frame, row]], std)
    deltas = deltas_FNC4[frame, row, labels[frame, row]]
    box = functional.smooth_l1_loss(deltas, target, reduction="sum", beta=beta)
    return score, box, chosen.sum()

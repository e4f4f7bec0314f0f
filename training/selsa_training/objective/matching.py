"""Assign an object to each anchor or proposal.

Shape suffixes: F frames, N boxes (anchors or proposals), G objects.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from selsa_training.model.boxes import pairwise_iou
from selsa_training.objective.ground_truth import GroundTruth
from selsa_training.recipe.recipe import MatchingRecipe


@dataclass(frozen=True, slots=True)
class Match:
    """The role of N boxes of F frames.

    Attributes:
        positive: bool [F, N], boxes assigned to an object.
        negative: bool [F, N], background. A box that is neither does not enter the losses.
        object: int64 [F, N], index of the object of each positive box; 0 elsewhere.
    """

    positive: Tensor
    negative: Tensor
    object: Tensor


def match_boxes(
    boxes_FN4: Tensor, candidates_FN: Tensor, truth: GroundTruth, recipe: MatchingRecipe
) -> Match:
    """Match by IoU. Source: mmdet 2.28 `MaxIoUAssigner` with `match_low_quality` (its default).

    A box belongs to the object with which it has the highest IoU, if that is at least `positive`. It is
    background if the IoU is below `negative`. In addition every object gets the boxes with its highest IoU,
    if that is at least `least`, even if they overlap another object more.

    Args:
        boxes_FN4: float32 [F, N, 4], xyxy, in pixels of the resized frame.
        candidates_FN: bool [F, N], false for boxes to leave out (padding, anchors outside the frame).
    """
    iou = pairwise_iou(boxes_FN4, truth.boxes)
    iou = torch.where(candidates_FN[:, :, None] & truth.valid[:, None, :], iou, iou.new_tensor(-1.0))
    best, found = iou.max(dim=2)
    positive = candidates_FN & (best >= recipe.positive)
    negative = candidates_FN & (best < recipe.negative)
    best_of_object = iou.amax(dim=1, keepdim=True)
    rescued = (iou == best_of_object) & (best_of_object >= recipe.least)
    # If a box is the best one of several objects, it goes to the last of them, as published.
    order = torch.arange(1, iou.shape[2] + 1, device=iou.device)
    last = (rescued * order).amax(dim=2)
    found = torch.where(last > 0, last - 1, found)
    positive = positive | (last > 0)
    return Match(positive, negative & ~positive, torch.where(positive, found, found.new_zeros(())))


def add_true_boxes(match: Match, own_FN: Tensor) -> Match:
    """Make every true box among the N boxes a positive of its own object.

    The published code assigns the proposals alone and adds the true boxes afterwards, so a true box never
    changes the assignment of a proposal. Source: mmdet 2.28 `AssignResult.add_gt_`.

    Args:
        match: assignment of the boxes; true boxes were no candidates in it.
        own_FN: int64 [F, N], index of the object whose true box this is; -1: the box is no true box.
    """
    true = own_FN >= 0
    return Match(match.positive | true, match.negative & ~true, torch.where(true, own_FN, match.object))

"""Which object each anchor or proposal is for.

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
    """What N boxes of F frames are.

    Attributes:
        positive: bool [F, N], boxes of an object.
        negative: bool [F, N], background; a box that is neither is not learned from.
        object: int64 [F, N], the object of each positive box; 0 elsewhere.
    """

    positive: Tensor
    negative: Tensor
    object: Tensor


def match_boxes(
    boxes_FN4: Tensor, candidates_FN: Tensor, truth: GroundTruth, recipe: MatchingRecipe
) -> Match:
    """Match by IoU. Source: mmdet 2.28 `MaxIoUAssigner` with `match_low_quality` (its default).

    A box is of the object that it overlaps most, if by `positive` or more; background, if by less than
    `negative`. An object whose best boxes overlap it by `least` or more gets those, whatever else they
    overlap.

    Args:
        boxes_FN4: float32 [F, N, 4] xyxy.
        candidates_FN: bool [F, N], which boxes count at all.
        truth: the frames' objects.
        recipe: the thresholds.
    """
    iou = pairwise_iou(boxes_FN4, truth.boxes)
    iou = torch.where(candidates_FN[:, :, None] & truth.valid[:, None, :], iou, iou.new_tensor(-1.0))
    best, found = iou.max(dim=2)
    positive = candidates_FN & (best >= recipe.positive)
    negative = candidates_FN & (best < recipe.negative)
    best_of_object = iou.amax(dim=1, keepdim=True)
    rescued = (iou == best_of_object) & (best_of_object >= recipe.least)
    # Where a box is best for several objects the last one gets it, as published.
    order = torch.arange(1, iou.shape[2] + 1, device=iou.device)
    last = (rescued * order).amax(dim=2)
    found = torch.where(last > 0, last - 1, found)
    positive = positive | (last > 0)
    return Match(positive, negative & ~positive, torch.where(positive, found, found.new_zeros(())))

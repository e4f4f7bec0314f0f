"""Balanced random sampling of boxes, with given random numbers.

Each sample has its own seed. So its loss depends neither on the process that computes it nor on the other
samples of its batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selsa_training.objective.matching import Match

_NEVER = 2.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Sampled boxes: bool [F, N] each."""

    positive: Tensor
    negative: Tensor


def random_numbers(seeds: Tensor, purpose: int, frames_each: int, count: int) -> Tensor:
    """Uniform numbers in [0, 1): float32 [samples * frames_each, count], a function of its arguments.

    A frame's first numbers do not depend on `count`.

    Args:
        seeds: int64 [samples].
        purpose: different purposes have different random numbers.
        frames_each: frames of one sample.
        count: numbers per frame.
    """
    drawn = [
        np.random.default_rng([purpose, int(seed), frame]).random(count, dtype=np.float32)
        for seed in seeds
        for frame in range(frames_each)
    ]
    return torch.from_numpy(np.stack(drawn))


def choose(match: Match, random_FN: Tensor, *, count: int, positive_share: float) -> Choice:
    """Sample at most `count` boxes per frame: at most `positive_share` positives, the rest negatives.

    Source: mmdet 2.28 `RandomSampler`.
    """
    most = min(int(count * positive_share), random_FN.shape[1])
    positive = _lowest(match.positive, random_FN, torch.full_like(match.object[:, 0], most), most)
    left = count - positive.sum(1)
    negative = _lowest(match.negative, random_FN, left, min(count, random_FN.shape[1]))
    return Choice(positive, negative)


def _lowest(among_FN: Tensor, random_FN: Tensor, wanted_F: Tensor, most: int) -> Tensor:
    """The `wanted` boxes with the lowest random numbers of every frame, at most `most`."""
    numbers = torch.where(among_FN, random_FN, random_FN.new_tensor(_NEVER))
    lowest, where = numbers.topk(most, dim=1, largest=False, sorted=True)
    rank = torch.arange(most, device=numbers.device)
    taken = (lowest < _NEVER) & (rank < wanted_F[:, None])
    return torch.zeros_like(among_FN).scatter(1, where, taken)

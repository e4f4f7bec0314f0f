"""The order of the samples and their distribution over processes. It is deterministic, so runs can resume."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

SampleIndex = tuple[int, int]
"""(epoch, index of the key frame among the training keys): all that a sample's random numbers depend on."""

_ORDER: Final = 2


@dataclass(slots=True, kw_only=True)
class BatchOrder:
    """Batches of sample indices of one epoch for one process; goes into `DataLoader(batch_sampler=...)`.

    The order of an epoch is one permutation for all processes. Every step takes the next `batch * accumulate
    * world` samples. Process `rank` takes the rank-th part of these, in `accumulate` batches. So two
    processes, or two accumulated batches, have together the same samples as one process with twice the batch.
    The last step wraps around to the beginning of the permutation.

    Attributes:
        count: samples in all.
        batch: samples of one process in one forward pass.
        accumulate: batches of one process in one step.
        rank: this process, 0 to world - 1.
        world: processes.
        seed: of the permutations.
        epoch: the epoch of the next iteration.
        step: the first step of the next iteration. `epoch` and `step` are the whole state. A data loader
            reads
            ahead, so the training loop counts the steps and sets both when it resumes.
    """

    count: int
    batch: int
    accumulate: int = 1
    rank: int = 0
    world: int = 1
    seed: int = 0
    epoch: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        if min(self.count, self.batch, self.accumulate, self.world) < 1 or not 0 <= self.rank < self.world:
            raise ValueError(
                f"count {self.count}, batch {self.batch} x {self.accumulate}, rank {self.rank} of "
                f"{self.world}: need at least one sample, one per batch, and a rank below the process count"
            )

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return -(-self.count // (self.batch * self.accumulate * self.world))

    def start(self, epoch: int, step: int = 0) -> None:
        """Set the epoch and step of the next iteration."""
        self.epoch, self.step = epoch, step

    def __len__(self) -> int:
        """Batches of the next iteration."""
        return max(0, self.steps - self.step) * self.accumulate

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        epoch, own = self.epoch, self.batch * self.accumulate
        order = np.random.default_rng([_ORDER, self.seed, epoch]).permutation(self.count)
        for step in range(self.step, self.steps):
            first = (step * self.world + self.rank) * own
            for start in range(first, first + own, self.batch):
                places = np.arange(start, start + self.batch) % self.count
                yield [(epoch, int(index)) for index in order[places]]

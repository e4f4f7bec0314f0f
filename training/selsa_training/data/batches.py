"""In which order samples are seen, and by which process: stated, so that a resumed run goes on exactly."""

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

    The order of an epoch is one permutation for all processes. Step s takes the next `batch * world` of it,
    and process `rank` the rank-th part of those, so two processes see together exactly what one process with
    twice the batch sees. The last step wraps around to the beginning of the permutation.

    Attributes:
        count: samples in all.
        batch: samples of one process in one step.
        rank: this process, 0 to world - 1.
        world: processes.
        seed: of the permutations.
        epoch: the epoch that the next iteration is of.
        step: the step it begins with. The two are the whole state; a data loader reads ahead, so the training
            loop counts steps itself and sets them when it resumes.
    """

    count: int
    batch: int
    rank: int = 0
    world: int = 1
    seed: int = 0
    epoch: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        if min(self.count, self.batch, self.world) < 1 or not 0 <= self.rank < self.world:
            raise ValueError(
                f"count {self.count}, batch {self.batch}, rank {self.rank} of {self.world}: need at least "
                "one sample, one per batch, and a rank below the number of processes"
            )

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return -(-self.count // (self.batch * self.world))

    def start(self, epoch: int, step: int = 0) -> None:
        """State where the next iteration begins."""
        self.epoch, self.step = epoch, step

    def __len__(self) -> int:
        """Steps of the next iteration."""
        return max(0, self.steps - self.step)

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        epoch, together = self.epoch, self.batch * self.world
        order = np.random.default_rng([_ORDER, self.seed, epoch]).permutation(self.count)
        for step in range(self.step, self.steps):
            first = step * together + self.rank * self.batch
            places = np.arange(first, first + self.batch) % self.count
            yield [(epoch, int(index)) for index in order[places]]

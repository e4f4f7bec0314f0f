"""What one thing took, over the rounds in which it was measured."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Seconds, or a ratio within a round.

    Attributes:
        median: over the rounds.
        lowest: of the rounds.
        highest: of the rounds.
        rounds: each of them, in order.
    """

    median: float
    lowest: float
    highest: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summary of one value or more, a round each."""
        return cls(
            median=statistics.median(values), lowest=min(values), highest=max(values), rounds=tuple(values)
        )

"""One object as it is followed through a video."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class Track:
    """One object, as far as it is known.

    Attributes:
        id: its number from 1; None until it is confirmed.
        box: float32 [4], xyxy in source pixels, where it was last seen.
        speed: pixels per frame of the source along (x, y).
        look: float32 [C], unit vector, what it looks like of late; None without appearance.
        looks: float32 [C], sum of its appearances.
        votes: sum of scores by class.
        first: source index of the first frame; `first_time` in seconds.
        last: source index of the last frame; `last_time` in seconds.
        frames: how many it was seen in.
        score: sum of its scores.
        placed: whether its position is of use; not after a cut.
    """

    box: Float
    first: int
    first_time: float | None
    last: int
    last_time: float | None
    id: int | None = None
    speed: tuple[float, float] = (0.0, 0.0)
    look: Float | None = None
    looks: Float | None = None
    votes: dict[int, float] = field(default_factory=dict)
    frames: int = 0
    score: float = 0.0
    placed: bool = True

    @property
    def label(self) -> int:
        """The class with the highest sum of scores; of equals the lowest."""
        return min(self.votes, key=lambda label: (-self.votes[label], label))

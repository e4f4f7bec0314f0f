"""An object that is followed through a video."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class Track:
    """The state of one followed object.

    Attributes:
        id: its number from 1; None until it is confirmed.
        box: float32 [4], xyxy in source pixels, in the last frame that shows it.
        speed: pixels per frame of the source along (x, y).
        look: float32 [C], unit vector, its recent appearance; None without appearance.
        looks: float32 [C], sum of its appearances.
        votes: sum of scores by class.
        first: source index of the first frame; `first_time` in seconds.
        before: source index of the detected frame before `first`; -1: none.
        last: source index of the last frame; `last_time` in seconds.
        frames: number of frames that show it.
        score: sum of its scores.
        placed: whether its position can be used; false after a cut.
    """

    box: Float
    first: int
    first_time: float | None
    last: int
    last_time: float | None
    before: int = -1
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
        """The class with the highest sum of scores; the lowest of equal ones."""
        return min(self.votes, key=lambda label: (-self.votes[label], label))

"""What a case of the corpus is: how its file is made, and what is right to answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from media import write_video

__all__ = ["COUNT", "Case", "Refused", "encoded", "plain"]

# Frames of a video that is not about its length.
COUNT = 12


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal with any of these (status, code)."""

    answers: frozenset[tuple[int, str]]

    @classmethod
    def with_code(cls, status: int, *codes: str) -> "Refused":
        """A refusal with one of `codes`."""
        return cls(frozenset((status, code) for code in codes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One odd or broken file.

    Attributes:
        name: what is odd about it.
        make: writes the file into a folder; its path.
        refused: what is answered; None if the detections are.
        frames: in the source; None if that is not known beforehand.
        times: of the frames, in seconds.
        rotation: applied for display.
        size: (width, height) as displayed, of the first frame.
        numbered: whether frame i shows the number i.
        tolerant: (frames in the source, lowest number of them that decode) with decode=tolerant, a refusal,
            or None for the same as without.
        heavy: takes memory because the picture is large.
    """

    name: str
    make: Callable[[Path], Path]
    refused: Refused | None = None
    frames: int | None = COUNT
    times: Sequence[float] | None = None
    rotation: int = 0
    size: tuple[int, int] | None = None
    numbered: bool = True
    tolerant: tuple[int | None, int] | Refused | None = None
    heavy: bool = False


def encoded(
    suffix: str, codec: str = "libx264", pix_fmt: str = "yuv420p", **more: object
) -> Callable[..., Path]:
    """A maker of a video by `media.write_video`; `more` as there, `count` included."""

    def make(folder: Path) -> Path:
        given = {"count": COUNT, "codec": codec, "pix_fmt": pix_fmt, **more}
        return write_video(folder / f"video.{suffix}", **given)  # type: ignore[arg-type]

    return make


def plain(width: int, height: int) -> Callable[[int], npt.NDArray[np.uint8]]:
    """Pictures of one colour, for sizes in which no number can be read."""
    return lambda number: np.full((height, width, 3), 20 * number % 256, np.uint8)

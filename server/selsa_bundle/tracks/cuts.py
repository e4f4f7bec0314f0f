"""Cuts between scenes, seen in the pixels: after a cut, a position says nothing about an object."""

from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

# Samples along each side of a frame.
GRID: Final = 32
# Mean difference of two frames' samples, in grey levels of 0..255, that may be a cut.
LEAST: Final = 24.0
# A cut also differs by this many times the usual difference, because a fast camera is not a cut.
TIMES: Final = 3.0
REMEMBERED: Final = 8


class CutDetector:
    """Looks at one frame after the other. Memory: one small picture and a few numbers."""

    def __init__(self) -> None:
        self._last: npt.NDArray[np.int16] | None = None
        self._usual: deque[float] = deque(maxlen=REMEMBERED)

    def is_cut(self, pixels: npt.NDArray[np.uint8]) -> bool:
        """Whether a cut, or a change of the picture's size, lies between the last frame and this one.

        Args:
            pixels: uint8 [H, W, 3].
        """
        small = _samples(pixels)
        last, self._last = self._last, small
        if last is None:
            return False
        if last.shape != small.shape:
            self._usual.clear()
            return True
        change = float(np.abs(small - last).mean())
        usual = float(np.median(self._usual)) if self._usual else 0.0
        # Cuts count too: one does not move the median, and in a video where all frames differ none is a cut.
        self._usual.append(change)
        return change > LEAST and change > TIMES * usual


def _samples(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    height, width = pixels.shape[:2]
    rows = np.linspace(0, height - 1, min(GRID, height)).astype(np.int64)
    columns = np.linspace(0, width - 1, min(GRID, width)).astype(np.int64)
    return pixels[rows][:, columns].astype(np.int16)

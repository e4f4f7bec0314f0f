"""Cuts between scenes: after a cut, earlier positions and most reference frames say nothing about a frame.

Frames are compared as small grey pictures without their mean and contrast. So darkness, blur, noise and
compression change little, and scenes differ: the correlation of consecutive frames of one shot was 0.83 or
more on eight clips with and without damage, across cuts between them 0.44 or less.
"""

from collections import deque
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

# Cells along each side of a frame; each is the mean of its pixels.
GRID: Final = 16
# Two frames with a lower correlation show different scenes, or the camera moved far.
ALIKE: Final = 0.65
# Grey levels: a frame whose cells vary less is black, white or a fade, and shows no scene.
FLAT: Final = 2.0
# Grey levels by which two such frames in a row differ at a cut.
LEVELS: Final = 24.0
# The correlation also falls this many times as far as usual at a cut, because a fast camera is not a cut.
TIMES: Final = 3.0
REMEMBERED: Final = 8

Scene = npt.NDArray[np.float32]


def scene_of(pixels: npt.NDArray[np.uint8]) -> Scene | None:
    """A frame as a unit vector, float32 [GRID * GRID]; None if it shows no scene.

    Args:
        pixels: uint8 [H, W, 3], without padding.
    """
    return _scene(_cells(pixels))


def _cells(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    small = cv2.resize(pixels, (GRID, GRID), interpolation=cv2.INTER_AREA)
    cells: npt.NDArray[np.float32] = small.astype(np.float32).mean(-1).ravel()
    return cells


def _scene(cells: npt.NDArray[np.float32]) -> Scene | None:
    if cells.std() < FLAT:
        return None
    contrast = cells - cells.mean()
    scene: Scene = contrast / np.linalg.norm(contrast)
    return scene


def alike(one: Scene | None, other: Scene | None) -> bool:
    """Whether two frames show the same scene; a frame that shows none is like every other."""
    return one is None or other is None or float(one @ other) >= ALIKE


class CutDetector:
    """Looks at one frame after the other. Memory: one small picture and a few numbers."""

    def __init__(self) -> None:
        self._size: tuple[int, ...] | None = None
        self._last: Scene | None = None
        self._level: float | None = None  # of the last frame, if it showed no scene
        self._usual: deque[float] = deque(maxlen=REMEMBERED)

    def is_cut(self, pixels: npt.NDArray[np.uint8]) -> bool:
        """Whether a cut, or a change of the picture's size, lies between the last frame and this one.

        Args:
            pixels: uint8 [H, W, 3], without padding.
        """
        size, self._size = self._size, pixels.shape
        cells = _cells(pixels)
        scene, last, level = _scene(cells), self._last, self._level
        self._level = float(cells.mean()) if scene is None else None
        if scene is not None:
            self._last = scene
        if size not in (None, pixels.shape):
            self._usual.clear()
            return True
        if self._level is not None and level is not None and abs(self._level - level) > LEVELS:
            return True
        if scene is None or last is None:
            return False
        change = 1 - float(scene @ last)
        usual = float(np.median(self._usual)) if self._usual else 0.0
        # A cut is remembered too: one does not move the median, and where every frame differs none is a cut.
        self._usual.append(change)
        return not alike(scene, last) and change > TIMES * usual


# Frames between the two pictures that a dissolve's middle is compared with, and the middle.
HALF: Final = 12
# The two show different scenes, more surely than at a cut.
APART: Final = 0.5
# Share of the middle picture's contrast that a mix of the two explains, and the least part of each in it.
EXPLAINED: Final = 0.85
PART: Final = 0.2


class DissolveDetector:
    """Finds cross-fades of up to about a second, `HALF` frames after their middle.

    In the middle of a dissolve the picture is a mix of an earlier and a later picture, which differ. A camera
    or an object that moves gives no such mix. Measured by benchmarks/quality/everyday_cuts.py.
    """

    def __init__(self) -> None:
        self._cells: deque[npt.NDArray[np.float32]] = deque(maxlen=2 * HALF + 1)

    def was_dissolve(self, pixels: npt.NDArray[np.uint8]) -> bool:
        """Whether the middle of a dissolve lies `HALF` frames before this frame.

        Args:
            pixels: uint8 [H, W, 3], without padding.
        """
        self._cells.append(_cells(pixels))
        if len(self._cells) <= 2 * HALF:
            return False
        pictures = np.stack([self._cells[0], self._cells[-1], self._cells[HALF]])
        if (pictures.std(1) < FLAT).any():
            return False
        pictures -= pictures.mean(1, keepdims=True)
        pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
        ends, middle = pictures[:2], pictures[2]
        if float(ends[0] @ ends[1]) >= APART:
            return False
        # The small number: a picture and its negative are no two directions.
        parts = np.linalg.solve(ends @ ends.T + 1e-4 * np.eye(2), ends @ middle)
        explained = 1 - float(np.square(middle - parts @ ends).sum())
        found = explained > EXPLAINED and float(parts.min()) > PART
        if found:
            self.clear()
        return found

    def clear(self) -> None:
        """Forget all frames: a cut lies before the next one."""
        self._cells.clear()

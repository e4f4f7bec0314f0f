"""Sprites without files: thirty classes differ in silhouette, pattern and colour.

There are ten silhouettes and three patterns. Classes with the same silhouette look alike when they are grey
and blurred. This ambiguity is intended, as with the emoji of two similar animals.
"""

import colorsys
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_training.data.synthetic.sprites import SpriteSet

SIDE: Final = 256
# Drawn larger and shrunk, which smooths edges alike on every platform.
OVERSAMPLE: Final = 2
PATTERNS: Final = ("rings", "stripes", "checks")
GOLDEN: Final = 0.618034


def draw_shapes(classes: Sequence[str]) -> SpriteSet:
    """A sprite for each class, in order. The 31st has the shape of the first in another colour."""
    return SpriteSet.of("drawn shapes", {name: [_sprite(i)] for i, name in enumerate(classes)})


def _sprite(index: int) -> npt.NDArray[np.uint8]:
    side = SIDE * OVERSAMPLE
    outline = _silhouettes()[index % 10]
    mask = np.zeros((side, side), np.uint8)
    points = [np.rint((part + 1) / 2 * (side - 1)).astype(np.int32) for part in outline]
    # Even-odd: an outline inside another is a hole.
    cv2.fillPoly(mask, points, 255)
    hue = (index * GOLDEN) % 1
    bright, dark = (np.array(colorsys.hsv_to_rgb(hue, 0.75, v)) * 255 for v in (0.95, 0.4))
    share = _pattern(PATTERNS[index // 10 % 3], side)[..., None]
    image = np.concatenate([bright * (1 - share) + dark * share, mask[..., None]], axis=2)
    edge = cv2.erode(mask, np.ones((side // 40, side // 40), np.uint8)) == 0
    image[edge, :3] = dark / 2
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).round().astype(np.uint8)


def _pattern(name: str, side: int) -> npt.NDArray[np.bool_]:
    """The dark pixels of a pattern."""
    y, x = np.mgrid[0:side, 0:side] / side
    if name == "rings":
        dark = (np.hypot(x - 0.5, y - 0.5) * 6) % 1 > 0.6
    elif name == "stripes":
        dark = ((x + y) * 5) % 1 > 0.5
    else:
        dark = (np.floor(x * 6) + np.floor(y * 6)) % 2 > 0
    return np.asarray(dark, np.bool_)


def _silhouettes() -> list[list[npt.NDArray[np.float64]]]:
    """Outlines in [-1, 1], y down."""
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    heart = np.stack(
        [
            np.sin(turn) ** 3,
            -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)) / 17,
        ],
        axis=1,
    )
    third = 1 / 3
    cross = [(-third, -1), (third, -1), (third, -third), (1, -third), (1, third), (third, third)]
    cross += [(-x, -y) for x, y in cross]
    arrow = [(-1, -0.3), (0.1, -0.3), (0.1, -0.9), (1, 0), (0.1, 0.9), (0.1, 0.3), (-1, 0.3)]
    fish = np.concatenate([circle[12:108] * (0.7, 0.6) - (0.3, 0), [(0.95, 0.7), (0.95, -0.7)]])
    moon = np.concatenate([circle[20:100], (circle[20:100] * (0.5, 0.85))[::-1]])
    return [
        [circle * (1, 0.6)],
        [_star(3, 1.0)],
        [np.array([(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)])],
        [_star(5, 0.42)],
        [np.array(cross)],
        [circle, circle * 0.5],
        [moon],
        [heart],
        [np.array(arrow)],
        [fish],
    ]


def _star(points: int, inner: float) -> npt.NDArray[np.float64]:
    """A star, or with `inner` 1 a polygon of that many corners."""
    count = points if inner == 1 else 2 * points
    angles = np.arange(count) * 2 * np.pi / count - np.pi / 2
    radius = np.where(np.arange(count) % 2, inner, 1.0)
    corners: npt.NDArray[np.float64] = radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return corners

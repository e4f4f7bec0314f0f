"""Sprites: RGBA images, one or several per class, that can be drawn at any size."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_training.data.errors import DataError

RGBA = npt.NDArray[np.uint8]
Levels = tuple[npt.NDArray[np.float32], ...]

# Long sides of the levels of a sprite. Drawing shrinks the next larger level, by less than half.
LEVELS: Final = (256, 128, 64, 32)
VISIBLE: Final = 8


@dataclass(frozen=True, slots=True)
class Sprite:
    """One image at several sizes: float32 [h, w, 4], alpha 0 to 1 premultiplied to colours 0 to 255."""

    levels: Levels

    def level(self, size: float) -> npt.NDArray[np.float32]:
        """The smallest level whose long side is at least `size` pixels, or the largest."""
        fitting = [level for level in self.levels if max(level.shape[:2]) >= size]
        return fitting[-1] if fitting else self.levels[0]


@dataclass(frozen=True, slots=True)
class SpriteSet:
    """Sprites of every class.

    Attributes:
        origin: their source, for the record.
        sha256: of their pixels.
        by_class: class name -> its sprites, at least one, in the order of the class list.
    """

    origin: str
    sha256: str
    by_class: dict[str, tuple[Sprite, ...]]

    @classmethod
    def of(cls, origin: str, images: Mapping[str, Sequence[RGBA]]) -> "SpriteSet":
        """The set of some RGBA images.

        Raises:
            DataError: an image is completely transparent.
        """
        digest = hashlib.sha256()
        for name, members in images.items():
            for image in members:
                digest.update(f"{name} {image.shape}".encode() + image.tobytes())
        by_class = {
            name: tuple(as_sprite(image, f"{origin}: {name}") for image in members)
            for name, members in images.items()
        }
        return cls(origin, digest.hexdigest(), by_class)


def as_sprite(image: RGBA, name: str) -> Sprite:
    """Crop uint8 [h, w, 4] to its visible part, and make its levels.

    Raises:
        DataError: the image is completely transparent; the message starts with `name`.
    """
    rows, columns = np.nonzero(image[..., 3] >= VISIBLE)
    if not len(rows):
        raise DataError(f"{name} is completely transparent")
    cropped = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)
    alpha = cropped[..., 3:] / 255
    full = np.concatenate([cropped[..., :3] * alpha, alpha], axis=2)
    levels = []
    for side in LEVELS:
        scale = side / max(full.shape[:2])
        if scale > 1 and side != LEVELS[-1]:
            continue
        size = (max(2, round(full.shape[1] * scale)), max(2, round(full.shape[0] * scale)))
        levels.append(cv2.resize(full, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False))
    return Sprite(tuple(levels))

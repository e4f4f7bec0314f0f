"""Drawing one object into one frame."""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_training.data.synthetic.degradation import Effects, degrade
from selsa_training.data.synthetic.sprites import Sprite

Image = npt.NDArray[np.float32]

SOLID: Final = 0.5


@dataclass(frozen=True, slots=True)
class Drawn:
    """The drawn object before any effect: `box` xyxy in pixels inside the frame, `mask` bool [H, W]."""

    box: tuple[float, float, float, float]
    mask: npt.NDArray[np.bool_]


def draw_object(
    canvas: Image,
    sprite: Sprite,
    centre: tuple[float, float],
    size: float,
    angle: float,
    effects: Effects,
    *,
    mirrored: bool,
) -> Drawn | None:
    """Draw a sprite with its effects.

    Args:
        canvas: float32 [H, W, 3], RGB 0 to 255; drawn into.
        centre: (x, y) in pixels.
        size: long side in pixels.
        angle: in degrees.
        mirrored: mirror left and right.

    Returns:
        Its place; None if it is completely outside the frame.
    """
    height, width = canvas.shape[:2]
    half = math.ceil(size * (0.75 + effects.reach)) + 2
    left, top = math.floor(centre[0]) - half, math.floor(centre[1]) - half
    level = sprite.level(size)
    scale = size / max(level.shape[:2])
    turned = cv2.getRotationMatrix2D(((level.shape[1] - 1) / 2, (level.shape[0] - 1) / 2), angle, scale)
    if mirrored:
        turned[0] *= -1
        turned[0, 2] += level.shape[1] - 1
    turned[:, 2] += np.subtract(centre, (left, top)) - ((level.shape[1] - 1) / 2, (level.shape[0] - 1) / 2)
    patch = cv2.warpAffine(level, turned, (2 * half, 2 * half), flags=cv2.INTER_LINEAR)
    # The part of the patch that is in the frame.
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + 2 * half, width), min(top + 2 * half, height)
    if x2 <= x1 or y2 <= y1:
        return None
    inside = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
    mask = np.zeros((height, width), np.bool_)
    mask[y1:y2, x1:x2] = patch[inside][..., 3] > SOLID
    seen = degrade(patch.astype(np.float32, copy=False), size, effects)[inside]
    region = canvas[y1:y2, x1:x2]
    region *= 1 - seen[..., 3:]
    region += seen[..., :3]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return Drawn(box, mask)


def cover(canvas: Image, box: tuple[float, float, float, float], effects: Effects, texture: Image) -> None:
    """Cover a share of a box from one side, like an object in front of it.

    Args:
        canvas: float32 [H, W, 3]; drawn into.
        box: xyxy in pixels.
        effects: `occlusion` and `side`.
        texture: float32 [H, W, 3], the texture of the cover.
    """
    x1, y1, x2, y2 = (round(value) for value in box)
    share, side = effects.occlusion, effects.side
    margin = 2
    if side == 0:
        x2 = x1 + round((x2 - x1) * share)
    elif side == 1:
        x1 = x2 - round((x2 - x1) * share)
    elif side == 2:
        y2 = y1 + round((y2 - y1) * share)
    else:
        y1 = y2 - round((y2 - y1) * share)
    rows, columns = slice(max(0, y1 - margin), y2 + margin), slice(max(0, x1 - margin), x2 + margin)
    canvas[rows, columns] = texture[rows, columns]

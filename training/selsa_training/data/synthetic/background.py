"""What is behind the objects: a texture of noise and shapes, larger than the frame; the camera drifts."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]

# Cells across the texture, and how strong each octave is.
OCTAVES: Final = ((3, 55.0), (9, 30.0), (30, 16.0), (90, 9.0))


def draw_texture(height: int, width: int, random: np.random.Generator, *, shapes: int = 14) -> Image:
    """float32 [height, width, 3], RGB 0 to 255."""
    texture = np.empty((height, width, 3), np.float32)
    texture[:] = random.uniform(50, 200, 3)
    for cells, strength in OCTAVES:
        rows = max(2, round(cells * height / width))
        coarse = random.normal(0, strength, (rows, cells, 3)).astype(np.float32)
        # Light and dark more than colour, as in photographs.
        coarse = 0.4 * coarse + 0.6 * coarse.mean(axis=2, keepdims=True)
        texture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(shapes):
        _draw_shape(texture, random)
    return np.clip(texture, 0, 255, out=texture)


def drift(length: int, room: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """int64 [length, 2], offsets (y, x) of the frame in the texture, 0 to `room`: slow, smooth swings."""
    time = np.arange(length)[:, None]
    swing = np.sin(2 * np.pi * time / random.uniform(60, 160, 2) + random.uniform(0, 2 * np.pi, 2))
    return np.rint(room / 2 * (1 + random.uniform(0, 1, 2) * swing)).astype(np.int64)


def _draw_shape(texture: Image, random: np.random.Generator) -> None:
    height, width = texture.shape[:2]
    centre = random.uniform(0, 1, 2) * (width, height)
    radius = random.uniform(0.04, 0.22) * height
    corners = int(random.integers(3, 9))
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    spread = radius * random.uniform(0.5, 1.3, corners)
    points = centre + spread[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    soft = random.uniform(0.6, 4.0)
    strength, colour = np.float32(random.uniform(0.3, 0.9)), random.uniform(20, 235, 3).astype(np.float32)
    # Only where the shape and its soft edge are.
    room = 3 * soft + 1
    x1, y1 = np.maximum(np.floor(points.min(axis=0) - room), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(points.max(axis=0) + room), (width, height)).astype(int)
    if x2 <= x1 or y2 <= y1:
        return
    mask = np.zeros((y2 - y1, x2 - x1), np.float32)
    cv2.fillPoly(mask, [np.rint(points - (x1, y1)).astype(np.int32)], 1.0, cv2.LINE_8)
    mask = cv2.GaussianBlur(mask, (0, 0), soft) * strength
    region = texture[y1:y2, x1:x2]
    region += mask[..., None] * (colour - region)

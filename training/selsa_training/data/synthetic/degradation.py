"""Degradation that makes an object hard to classify: choice of frames and effects, and pixel operations.

Objects are patches with premultiplied alpha, float32 [h, w, 4] with colours 0 to 255 and alpha 0 to 1. With
premultiplied alpha, blurring does not mix in the colours of invisible pixels.
"""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_training.data.synthetic.settings import DegradationRanges

Patch = npt.NDArray[np.float32]

NAMES: Final = ("grey", "blur", "occlusion", "fade", "tint", "motion_blur")
LUMINANCE: Final = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """The degradation of one object during one burst. Lengths are shares of the object's size.

    Attributes:
        grey: without colour.
        blur: standard deviation of defocus.
        motion_blur: length of the smear, 0: none.
        motion_angle: its direction, in radians.
        opacity: remaining opacity, 0 to 1.
        tint: share by which colours move to `colour`.
        colour: RGB, 0 to 255.
        occlusion: share of the box that a patch covers.
        side: side of the patch: left, right, top, bottom.
    """

    grey: bool = False
    blur: float = 0.0
    motion_blur: float = 0.0
    motion_angle: float = 0.0
    opacity: float = 1.0
    tint: float = 0.0
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    occlusion: float = 0.0
    side: int = 0

    @property
    def reach(self) -> float:
        """Largest distance that the object's pixels can spread, as a share of its size."""
        return 3 * self.blur + self.motion_blur / 2


CLEAR: Final = Effects()


def draw_bursts(length: int, ranges: DegradationRanges, random: np.random.Generator) -> list[tuple[int, int]]:
    """Bursts (first, past the last) that cover the stated share of a clip, with clear frames between them."""
    wanted = round(length * ranges.share)
    sizes: list[int] = []
    while (left := wanted - sum(sizes)) > 0:
        size = min(int(random.integers(ranges.burst[0], ranges.burst[1] + 1)), left)
        # The remaining frames must suffice for another burst.
        if 0 < left - size < ranges.burst[0]:
            size = left if left <= ranges.burst[1] else left - ranges.burst[0]
        sizes.append(size)
    clear = length - wanted
    # Distribute clear frames over the gaps at random. If there are enough, every inner gap gets at least one.
    gaps = np.zeros(len(sizes) + 1, np.int64)
    inner = min(clear, max(0, len(sizes) - 1))
    gaps[1 : 1 + inner] = 1
    gaps += random.multinomial(clear - inner, np.full(len(gaps), 1 / len(gaps)))
    bursts, position = [], 0
    for gap, size in zip(gaps, sizes, strict=False):
        position += int(gap)
        bursts.append((position, position + size))
        position += size
    return bursts


def draw_effects(ranges: DegradationRanges, random: np.random.Generator) -> Effects:
    """A few different effects, each of random strength within its range."""
    count = int(random.integers(ranges.effects[0], ranges.effects[1] + 1))
    chosen = {NAMES[int(i)] for i in random.choice(len(NAMES), count, replace=False)}
    # Draw the numbers of all effects, also of unused ones: later random numbers must not depend on them.
    blur, motion, occlusion = (
        random.uniform(*limits) for limits in (ranges.blur, ranges.motion_blur, ranges.occlusion)
    )
    fade, tint = random.uniform(*ranges.fade), random.uniform(*ranges.tint)
    red, green, blue = (float(x) for x in random.uniform(0, 255, 3))
    angle, side = random.uniform(0, np.pi), int(random.integers(4))
    return Effects(
        grey="grey" in chosen,
        blur=blur * ("blur" in chosen),
        motion_blur=motion * ("motion_blur" in chosen),
        motion_angle=angle,
        opacity=1 - fade * ("fade" in chosen),
        tint=tint * ("tint" in chosen),
        colour=(red, green, blue),
        occlusion=occlusion * ("occlusion" in chosen),
        side=side,
    )


def degrade(patch: Patch, size: float, effects: Effects) -> Patch:
    """Apply all effects except occlusion, which applies to the frame.

    Args:
        patch: float32 [h, w, 4], with a margin of `effects.reach * size` pixels on all sides.
        size: long side of the object in pixels.
    """
    if effects.grey:
        patch[..., :3] = (patch[..., :3] @ LUMINANCE)[..., None]
    if effects.tint:
        light = (patch[..., :3] @ LUMINANCE)[..., None] / 255
        colour = np.asarray(effects.colour, np.float32)
        # Half of the object's brightness stays, so that its structure remains visible.
        painted = (0.5 * light + 0.5 * patch[..., 3:]) * colour
        patch[..., :3] += np.float32(effects.tint) * (painted - patch[..., :3])
    if effects.blur:
        patch = cv2.GaussianBlur(patch, (0, 0), effects.blur * size).astype(np.float32, copy=False)
    if effects.motion_blur:
        kernel = _smear(effects.motion_blur * size, effects.motion_angle)
        patch = cv2.filter2D(patch, -1, kernel).astype(np.float32, copy=False)
    return patch * np.float32(effects.opacity)


def _smear(length: float, angle: float) -> Patch:
    """A square kernel with a line of `length` pixels through its centre; its sum is 1."""
    half = max(1, math.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    steps = np.linspace(-length / 2, length / 2, 4 * half + 1)
    columns = np.rint(half + steps * math.cos(angle)).astype(int)
    rows = np.rint(half + steps * math.sin(angle)).astype(int)
    np.add.at(kernel, (rows, columns), 1.0)
    kernel /= kernel.sum()
    return kernel

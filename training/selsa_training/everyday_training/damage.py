"""Damage to training frames, of other kinds than the test uses (`benchmarks/quality/everyday_quality.py`).

Images are uint8 [h, w, 3], before and after.
"""

from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Damage = Callable[[Image, np.random.Generator], Image]


def shaken(image: Image, random: np.random.Generator) -> Image:
    """Blur along the random walk of a shaken camera."""
    size = int(random.integers(9, 22))
    steps = np.cumsum(random.normal(0, 1, (size * 3, 2)) + random.normal(0, 0.5, 2), 0)
    steps = (steps - steps.min(0)) / max(1e-6, np.ptp(steps, 0).max()) * (size - 1)
    kernel = np.zeros((size, size), np.float32)
    np.add.at(kernel, (np.rint(steps[:, 1]).astype(int), np.rint(steps[:, 0]).astype(int)), 1.0)
    return _filtered(image, kernel)


def defocused(image: Image, random: np.random.Generator) -> Image:
    """Blur by a disc."""
    radius = float(random.uniform(3, 8))
    axis = np.arange(-int(radius), int(radius) + 1)
    return _filtered(image, (np.hypot(*np.meshgrid(axis, axis)) <= radius).astype(np.float32))


def smeared(image: Image, random: np.random.Generator) -> Image:
    """Blur by a box along one axis, or along both with different lengths."""
    long, short = int(random.integers(9, 26)), int(random.integers(1, 4))
    size = (long, short) if random.random() < 0.7 else (short, long)
    return _as_image(cv2.blur(image, size))


def noisy_dark(image: Image, random: np.random.Generator) -> Image:
    """Underexposed: a gamma, then shot noise of few photons."""
    light = (image / 255.0) ** random.uniform(1.8, 3.5) * random.uniform(0.3, 0.8)
    photons = random.uniform(15, 60)
    return _as_image(random.poisson(light * photons) / photons * 255)


def hazy(image: Image, random: np.random.Generator) -> Image:
    """A veil of light, thicker at the top."""
    height = image.shape[0]
    thickness = random.uniform(0.5, 0.85) - np.linspace(0, random.uniform(0, 0.3), height)[:, None, None]
    return _as_image(image * (1 - thickness) + random.uniform(170, 235) * thickness)


def blocky(image: Image, random: np.random.Generator) -> Image:
    """Lossy compression other than JPEG: WebP of low quality, or squares of one colour with ringing."""
    if random.random() < 0.6:
        _, coded = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, int(random.integers(1, 4))])
        return _as_image(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    height, width = image.shape[:2]
    block = int(random.integers(5, 10))
    small = cv2.resize(image, (max(1, width // block), max(1, height // block)), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    share = random.uniform(0.6, 0.9)
    return _as_image(share * coarse + (1 - share) * image)


def enlarged(image: Image, random: np.random.Generator) -> Image:
    """Few pixels, enlarged by nearest neighbour or cubically."""
    height, width = image.shape[:2]
    factor = random.uniform(4, 8)
    size = (max(1, int(width / factor)), max(1, int(height / factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    how = cv2.INTER_NEAREST if random.random() < 0.5 else cv2.INTER_CUBIC
    return _as_image(cv2.resize(small, (width, height), interpolation=how))


DAMAGES: Final[tuple[Damage, ...]] = (shaken, defocused, smeared, noisy_dark, hazy, blocky, enlarged)


def _filtered(image: Image, kernel: npt.NDArray[np.float32]) -> Image:
    return _as_image(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT))


def _as_image(values: Any) -> Image:
    image: Image = np.clip(np.asarray(values), 0, 255).astype(np.uint8)
    return image

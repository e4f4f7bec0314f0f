"""The clip behind `expected/`: 12 frames of 180x320, computed with integers only, so the same everywhere."""

import numpy as np
import numpy.typing as npt

__all__ = ["CLIP_FRAMES", "clip_frame"]

CLIP_FRAMES = 12
HEIGHT, WIDTH = 180, 320


def clip_frame(index: int) -> npt.NDArray[np.uint8]:
    """Frame `index` as uint8 [180, 320, 3] RGB."""
    rng = np.random.default_rng(7)
    # Raw words of the generator, because numpy promises never to change those.
    texture = (rng.bit_generator.random_raw(18 * 32 * 3) >> np.uint64(57)).astype(np.int64) % 96
    bgr = texture.reshape(18, 32, 3).repeat(10, axis=0).repeat(10, axis=1)
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    bgr[..., 0] += column * 80 // WIDTH
    bgr[..., 1] += row * 80 // HEIGHT
    bgr[..., 2] += (row + column) * 60 // (WIDTH + HEIGHT)
    for k in range(5):
        width, height = 28 + 14 * k, 22 + 11 * k
        left = (17 + 53 * k + (3 + 2 * k) * index) % (WIDTH - width)
        top = (11 + 29 * k + (2 + k) * index) % (HEIGHT - height)
        colour = np.array([(70 * k + 40) % 256, (130 * k + 90) % 256, (190 * k + 20) % 256])
        bgr[top : top + height, left : left + width] = colour
        bgr[top + height // 3 : top + height // 2, left : left + width] = 255 - colour
    return np.ascontiguousarray(bgr.clip(0, 255).astype(np.uint8)[..., ::-1])

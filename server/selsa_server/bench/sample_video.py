"""A procedural video for measuring and for trying things out: moving boxes over a texture, H.264 in MP4."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

RATE = 25


def write_sample_video(path: Path, frames: int, *, width: int, height: int) -> None:
    """Write `frames` frames of width x height pixels (both even) at 25 frames per second."""
    texture = _texture(height, width)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(_picture(texture, index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _texture(height: int, width: int) -> npt.NDArray[np.uint8]:
    cell = max(1, min(height, width) // 24)
    coarse = np.random.default_rng(3).integers(30, 150, (height // cell + 1, width // cell + 1, 3), np.uint8)
    return coarse.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]


def _picture(texture: npt.NDArray[np.uint8], index: int) -> npt.NDArray[np.uint8]:
    image = texture.copy()
    height, width = image.shape[:2]
    for k in range(6):
        box_w, box_h = width * (3 + k) // 30, height * (4 + k) // 30
        x = (width * (2 * k + 1) // 13 + index * (k + 1) * width // 400) % (width - box_w)
        y = (height * (3 * k + 1) // 17 + index * (6 - k) * height // 600) % (height - box_h)
        image[y : y + box_h, x : x + box_w] = (40 * k + 30, 220 - 30 * k, 90 + 25 * k)
        image[y + box_h // 3 : y + box_h // 2, x : x + box_w] = (250 - 35 * k, 20 + 40 * k, 60)
    return image

"""Frames to compare the engines on: a user's video or pictures, or a procedural clip."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from selsa_export.errors import ExportError

Frame = npt.NDArray[np.uint8]
# Enough for a bank of several frames and a batch of two. More frames would add no information.
PARITY_FRAMES = 4
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def read_frames(path: Path, count: int = PARITY_FRAMES) -> list[Frame]:
    """`count` frames of a video or a folder of pictures, spread over it, as uint8 [h, w, 3] RGB.

    Raises:
        ExportError: no frame can be read.
    """
    source = _pictures(path) if path.is_dir() else _video(path)
    frames = list(source)
    if not frames:
        raise ExportError(f"{path}: no frame can be read from it; give a video or a folder of pictures")
    chosen = [frames[round(i * (len(frames) - 1) / max(1, count - 1))] for i in range(count)]
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in chosen]


def procedural_frames(count: int = PARITY_FRAMES, *, height: int = 180, width: int = 320) -> list[Frame]:
    """Textured frames with moving boxes, the same on every machine, as uint8 [height, width, 3] RGB."""
    return [_procedural(index, height, width) for index in range(count)]


def _procedural(index: int, height: int, width: int) -> Frame:
    rng = np.random.default_rng(20)
    coarse = rng.integers(0, 110, (height // 9 + 1, width // 9 + 1, 3))
    image = coarse.repeat(9, axis=0).repeat(9, axis=1)[:height, :width]
    rows, columns = np.mgrid[0:height, 0:width]
    image = image + (rows * 70 // height + columns * 70 // width)[..., None]
    for k in range(6):
        box_w, box_h = 24 + 12 * k, 18 + 9 * k
        left = (19 + 47 * k + (2 + 3 * k) * index) % max(1, width - box_w)
        top = (13 + 31 * k + (3 + k) * index) % max(1, height - box_h)
        image[top : top + box_h, left : left + box_w] = (
            (60 * k + 30) % 256,
            (110 * k + 80) % 256,
            (170 * k) % 256,
        )
        image[top + box_h // 4 : top + box_h // 2, left : left + box_w] = 240 - 30 * k
    return np.asarray(image.clip(0, 255), np.uint8)


def _pictures(folder: Path) -> Iterator[Frame]:
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is not None:
            yield np.asarray(image, np.uint8)


def _video(path: Path, limit: int = 64) -> Iterator[Frame]:
    """The first `limit` frames; the exporter does not seek."""
    capture = cv2.VideoCapture(str(path))
    try:
        for _ in range(limit):
            found, image = capture.read()
            if not found:
                return
            yield np.asarray(image, np.uint8)
    finally:
        capture.release()

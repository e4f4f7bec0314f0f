"""The training clips: camera motion over photographs, and the short videos of `training/everyday-clips`."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_training.everyday_training.errors import SourceError
from selsa_training.everyday_training.photographs import photograph_clips, read_photographs

Image = npt.NDArray[np.uint8]
MOST_FRAMES: Final = 400


def read_training_clips(sources: Path, videos: Path | None, seed: int) -> dict[str, list[Image]]:
    """Every training clip, frames uint8 [h, w, 3] RGB.

    Args:
        sources: the folder that `fetch_sources` filled.
        videos: folder of short videos (.mp4); None: photographs alone.
        seed: motion over photographs depends on it alone.

    Raises:
        SourceError: a photograph or video is missing or not readable.
    """
    try:
        photographs = {name: _rgb(image) for name, image in read_photographs(sources).items()}
    except ValueError as error:
        raise SourceError(str(error)) from error
    clips = photograph_clips(photographs, np.random.default_rng(seed))
    if videos is None:
        return clips
    paths = sorted(videos.glob("*.mp4"))
    if not paths:
        raise SourceError(f"{videos} holds no .mp4 file")
    return clips | {path.stem: read_clip(path) for path in paths}


def read_clip(path: Path) -> list[Image]:
    """The first frames of a short video.

    Raises:
        SourceError: it has none that can be read.
    """
    capture = cv2.VideoCapture(str(path))
    frames: list[Image] = []
    while len(frames) < MOST_FRAMES:
        there, image = capture.read()
        if not there:
            break
        frames.append(_rgb(image.astype(np.uint8, copy=False)))
    capture.release()
    if not frames:
        raise SourceError(f"{path} holds no frame that can be read")
    return frames


def _rgb(image: Image) -> Image:
    return np.ascontiguousarray(image[..., ::-1])

"""Frames of the user's videos: some calibrate int8, the others compare the detections of the precisions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from selsa_export.errors import ExportError
from selsa_export.parity.frames import Frame, procedural_frames

# Ranges hardly change after a few dozen frames, and each frame costs one run of the frame engine in fp32.
CALIBRATION_FRAMES = 24
JUDGED_FRAMES = 24
MAX_FRAMES_READ = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionFrames:
    """Frames by purpose; no frame has both.

    Attributes:
        calibration: uint8 [h, w, 3] RGB; the ranges of activations come from these.
        judged: one clip of such frames per video; detections are compared on these.
    """

    calibration: tuple[Frame, ...]
    judged: tuple[tuple[Frame, ...], ...]
    described: str


def read_clips(videos: Sequence[Path]) -> PrecisionFrames:
    """Frames spread over each of the videos.

    Raises:
        ExportError: a video cannot be read, or has fewer than two frames.
    """
    if not videos:
        raise ExportError("--calibrate names no video")
    calibration: list[Frame] = []
    judged = []
    for video in videos:
        wanted = max(2, CALIBRATION_FRAMES // len(videos)), max(2, JUDGED_FRAMES // len(videos))
        frames = _spread(video, sum(wanted))
        # Every `step`-th frame is for comparison, so that both kinds are spread over the whole video.
        step = max(2, round(len(frames) / min(wanted[1], len(frames) // 2)))
        judged.append(tuple(frames[::step]))
        calibration += [frame for number, frame in enumerate(frames) if number % step]
    names = ", ".join(video.name for video in videos)
    return PrecisionFrames(calibration=tuple(calibration), judged=tuple(judged), described=names)


def procedural_clips() -> PrecisionFrames:
    """Procedural frames, used if no video is given. They suffice to measure speed, but not accuracy."""
    frames = procedural_frames(6)
    return PrecisionFrames(
        calibration=tuple(frames[1::2]), judged=(tuple(frames[::2]),), described="procedural clip"
    )


def _spread(video: Path, count: int) -> list[Frame]:
    """At most `count` frames of a video, evenly spread."""
    if not video.is_file():
        raise ExportError(f"{video}: there is no such file; --calibrate takes videos")
    total = sum(1 for _ in _frames(video, keep=()))
    if total < 2:
        found = "no frame" if total == 0 else "one frame only"
        raise ExportError(f"{video}: {found} can be read from it; calibration needs two at least")
    chosen = {round(i * (total - 1) / (count - 1)) for i in range(count)}
    return [frame for frame in _frames(video, keep=chosen) if frame is not None]


def _frames(video: Path, keep: "set[int] | tuple[()]") -> Iterator[Frame | None]:
    """Each frame of a video; None for a frame that is not in `keep`, which is not converted to a picture."""
    capture = cv2.VideoCapture(str(video))
    try:
        for index in range(MAX_FRAMES_READ):
            if not capture.grab():
                return
            found, image = capture.retrieve() if index in keep else (False, None)
            yield np.ascontiguousarray(image[..., ::-1], np.uint8) if found and image is not None else None
    finally:
        capture.release()

"""Videos made by code: small, exact, and each with one property that a test asks for."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["audio_only", "damage_packet", "frame_pixels", "number_of", "png", "write_video"]

Pixels = npt.NDArray[np.uint8]


def frame_pixels(number: int, width: int = 64, height: int = 48) -> Pixels:
    """Frame `number`: uint8 [h, w, 3] RGB; four blocks along the top spell it in base 4, the rest moves."""
    image = np.full((height, width, 3), (40, 60, 80), np.uint8)
    block = width // 4
    for digit in range(4):
        image[: height // 2, digit * block : (digit + 1) * block] = 40 + 60 * (number // 4**digit % 4)
    x = number * 5 % (width - 12)
    cv2.rectangle(image, (x, height // 2 + 4), (x + 10, height - 6), (200, 90, (number * 37) % 256), -1)
    return image


def number_of(pixels: Pixels) -> int:
    """The number that a frame of `frame_pixels` spells, after any lossy codec."""
    height, width = pixels.shape[:2]
    block = width // 4
    total = 0
    for digit in range(4):
        middle = pixels[height // 8 : height // 2 - height // 8, digit * block + 3 : (digit + 1) * block - 3]
        total += round((float(middle.mean()) - 40) / 60) * 4**digit
    return total


@contextmanager
def same_priority() -> Iterator[None]:
    """Keep the thread's scheduling.

    SVT-AV1, run by root, makes the thread that encodes a real-time thread for good. A process that stays one
    starves all others on the machine, its own browser included.
    """
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@same_priority()
def write_video(
    path: Path,
    count: int = 12,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    rotation: int = 0,
    picture: Callable[[int], Pixels] | None = None,
    container_format: str | None = None,
) -> Path:
    """Write `count` frames at 25 frames per second; `pts` in ticks of 1/1000 s replaces that rate.

    `rotation` is what a player is told to turn, in degrees clockwise; the pixels are stored unturned.
    """
    width, height = size
    with av.open(str(path), "w", format=container_format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if pts is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(-rotation)
        container.start_encoding()
        for number in range(count):
            image = frame_pixels(number, width, height) if picture is None else picture(number)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts = number if pts is None else pts[number]
            frame.time_base = Fraction(1, 25) if pts is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def audio_only(path: Path) -> Path:
    """A second of silence in an MP4 file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for start in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def png(path: Path) -> Path:
    """A still image; the suffix says which kind."""
    cv2.imwrite(str(path), frame_pixels(5))
    return path


def damage_packet(path: Path, number: int) -> None:
    """Change bytes in the middle of the video's packet `number` (in the order of the file)."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        position, size = packets[number].pos, packets[number].size
    assert position is not None
    data = bytearray(path.read_bytes())
    start, end = position + size // 3, position + 2 * size // 3
    data[start:end] = bytes((byte + 77) % 256 for byte in data[start:end])
    path.write_bytes(data)

"""Codecs in containers: a file gives what a live stream gives, and both what the decoder delivers.

Frames, times and pixels. Films are made by the ffmpeg command; what it cannot make is skipped aloud.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from film_kinds import (
    OPEN_GOP,
    X264,
    X265,
    delivered,
    encode,
    ffmpeg,
    field_coded,
    pixels_by_ffmpeg,
    read,
    sent,
)

from selsa_server.schema.stream import LiveContainer

COUNT: Final = 16
ALTERNATE: Final = ("-auto-alt-ref", "1", "-lag-in-frames", "12", "-g", "8")

# name: how it is encoded
CODECS: Final[dict[str, Callable[[Path], Path]]] = {
    "h264": lambda path: encode(path, *X264, "-bf", "0", "-g", "8"),
    "h264 B-frames": lambda path: encode(path, *X264, "-bf", "3", "-g", "8"),
    "h264 open GOP": lambda path: encode(path, *X264, "-x264-params", OPEN_GOP),
    "h264 interlaced": lambda path: encode(path, *X264, "-flags", "+ildct+ilme", "-bf", "2"),
    "h264 fields": lambda path: _with_times(field_coded(path.with_suffix(".h264"), COUNT), path),
    "hevc": lambda path: encode(path, *X265, f"log-level=none:{OPEN_GOP}"),
    "vp8": lambda path: encode(path, "-c:v", "libvpx", *ALTERNATE),
    "vp9": lambda path: encode(path, "-c:v", "libvpx-vp9", "-cpu-used", "5", *ALTERNATE),
    "av1": lambda path: encode(
        path, "-c:v", "libaom-av1", "-cpu-used", "8", "-lag-in-frames", "12", "-g", "8", "-usage", "good"
    ),
    "mpeg2": lambda path: encode(path, "-c:v", "mpeg2video", "-bf", "2", "-g", "8", "-q:v", "4"),
    "mpeg4": lambda path: encode(path, "-c:v", "mpeg4", "-bf", "2", "-g", "8", "-q:v", "4"),
    "mjpeg": lambda path: encode(path, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "prores": lambda path: encode(path, "-c:v", "prores_ks"),
    "ffv1": lambda path: encode(path, "-c:v", "ffv1", "-g", "8", "-pix_fmt", "yuv420p"),
    "gif": lambda path: encode(path, "-c:v", "gif"),
}
# Into what they are encoded, before they are copied into each container.
SOURCES: Final = {"gif": "gif", "h264 fields": "ts"}
FRAGMENTED: Final = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")
FRONT: Final = ("-movflags", "+faststart")


@dataclass(frozen=True)
class Container:
    """How a container is written, and as what it may be a live stream."""

    suffix: str
    options: tuple[str, ...] = ()
    live: LiveContainer | None = None
    display_order: bool = True  # whether it stores times of display


CONTAINERS: Final = {
    "mp4": Container("mp4", FRONT, "mp4"),
    "fragmented mp4": Container("mp4", FRAGMENTED, "mp4"),
    "mov": Container("mov", FRONT, "mp4"),
    "mkv": Container("mkv", (), "matroska"),
    "webm": Container("webm", (), "matroska"),
    "live webm": Container("webm", ("-live", "1"), "matroska"),
    "ts": Container("ts", (), "mpegts"),
    "ps": Container("mpg", ("-f", "vob")),
    "avi": Container("avi", (), None, False),
    "ivf": Container("ivf"),
    "gif": Container("gif"),
    "h264": Container("h264", (), None, False),
    "hevc": Container("hevc", (), None, False),
    "m2v": Container("m2v", (), None, False),
    "m4v": Container("m4v", (), None, False),
    "mjpeg": Container("mjpeg", (), None, False),
    "obu": Container("obu", (), None, False),
}
H264: Final = ("mp4", "fragmented mp4", "mov", "mkv", "ts", "ps", "avi", "h264")
HOLDS: Final = {
    **{name: H264 for name in CODECS if name.startswith("h264")},
    "hevc": ("mp4", "fragmented mp4", "mov", "mkv", "ts", "hevc"),
    "vp8": ("webm", "live webm", "mkv", "avi", "ivf"),
    "vp9": ("webm", "live webm", "mkv", "mp4", "fragmented mp4", "ivf"),
    "av1": ("webm", "live webm", "mkv", "mp4", "fragmented mp4", "ivf", "obu"),
    "mpeg2": ("mp4", "mov", "mkv", "ts", "ps", "avi", "m2v"),
    "mpeg4": ("mp4", "fragmented mp4", "mov", "mkv", "avi", "m4v"),
    "mjpeg": ("mov", "mkv", "avi", "mjpeg"),
    "prores": ("mov", "mkv"),
    "ffv1": ("mkv", "avi"),
    "gif": ("gif",),
}
CELLS: Final = [(codec, container) for codec, containers in HOLDS.items() for container in containers]


def _with_times(stream: Path, path: Path) -> Path:
    """A stream of fields in a container, which has their times from ffmpeg."""
    ffmpeg("-fflags", "+genpts", "-r", "50", "-i", stream, "-c", "copy", path)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    folder = tmp_path_factory.mktemp("films")

    def film(codec: str, container: str) -> Path:
        source = folder / f"{codec}.{SOURCES.get(codec, 'mkv')}".replace(" ", "-")
        if not source.exists():
            CODECS[codec](source)
        how = CONTAINERS[container]
        path = folder / f"{codec} in {container}.{how.suffix}".replace(" ", "-")
        # These two hold H.264 with start codes, and do not convert it themselves.
        annex_b = codec.startswith("h264") and container in ("ps", "avi")
        convert = ("-bsf:v", "h264_mp4toannexb") if annex_b else ()
        ffmpeg("-i", source, "-c", "copy", *convert, *how.options, path)
        return path

    return film


def test_the_matrix_has_the_cells_that_it_is_said_to_have() -> None:
    assert len(set(CELLS)) == len(CELLS) >= 60


@pytest.mark.parametrize(("codec", "container"), CELLS, ids=lambda value: value.replace(" ", "-"))
def test_file_and_live_stream_give_what_the_decoder_delivers(
    codec: str, container: str, films: Callable[[str, str], Path]
) -> None:
    path, how = films(codec, container), CONTAINERS[container]
    frames, expected = read(path), delivered(path)
    assert len(frames) == len(expected) == COUNT
    if not how.display_order:
        expected = [float(Fraction(number, 25)) for number in range(COUNT)]
    begin = expected[0] or 0.0
    # In some containers not every packet has a time stamp.
    filled = [begin + number / 25 if time is None else time for number, time in enumerate(expected)]
    assert [frame.time for frame in frames] == pytest.approx(filled, abs=1e-6)
    ours, theirs = (
        np.stack([frame.pixels for frame in frames]),
        pixels_by_ffmpeg(path, frames[0].pixels.shape),
    )
    assert len(theirs) == COUNT
    assert int(np.abs(ours.astype(int) - theirs).max()) <= 1
    if how.live is not None:
        live, counts = sent(path, how.live)
        assert (counts.seen, counts.clock_jumps, counts.cut_off) == (COUNT, 0, False)
        assert [(each.index, each.pts, each.time) for each in live] == [
            (each.index, each.pts, each.time) for each in frames
        ]
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(live, frames, strict=True))

"""Heads of every container, damaged at random: reading raises nothing but errors of the video."""

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_engines import FakeEngines
from film_kinds import Sent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_server import live_server
from media import write_video

from selsa_server.errors import RequestError, VideoError
from selsa_server.schema.stream import LiveContainer
from selsa_server.settings import ServerSettings
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import decode_frames
from selsa_server.video.index import index_video
from selsa_server.video.live.container import LiveCounts, LiveOptions, container_frames
from selsa_server.video.live.frames import live_file


@dataclass(frozen=True, slots=True)
class Format:
    """How a small file of a container is made; `live`: the name under which it may be streamed."""

    suffix: str
    codec: str
    options: dict[str, Any]
    live: LiveContainer | None = None


def container(suffix: str, codec: str, live: LiveContainer | None = None, **options: Any) -> Format:
    return Format(suffix, codec, options, live)


# Every container of `selsa_bundle.video.opening.FORMATS` that this FFmpeg can write.
FORMATS = (
    container("mp4", "mpeg4", container_options={"movflags": "faststart"}, live="mp4"),
    container("mp4", "mpeg4", container_options={"movflags": "frag_keyframe+empty_moov"}, live="mp4"),
    container("mov", "mjpeg", pix_fmt="yuvj420p"),
    container("mkv", "mpeg4", live="matroska"),
    container("webm", "libvpx", live="matroska"),
    container("avi", "mpeg4"),
    container("ts", "libx264", count=25, options={"g": "8"}, live="mpegts"),
    container("h264", "libx264"),
    container("hevc", "libx265", options={"x265-params": "log-level=none"}),
    container("ivf", "libvpx"),
    container("obu", "libsvtav1", size=(64, 64)),
    container("m4v", "mpeg4"),
    container("mpg", "mpeg1video"),
    container("m1v", "mpeg1video"),
    container("mxf", "mpeg2video"),
    container("nut", "mpeg4"),
    container("ogg", "libvpx"),
    container("flv", "flv"),
    container("wmv", "wmv2"),
    container("gif", "gif", pix_fmt="rgb8"),
    container("apng", "apng", pix_fmt="rgb24"),
    container("mjpeg", "mjpeg", pix_fmt="yuvj420p"),
    container("dv", "dvvideo", count=1, size=(720, 480), pix_fmt="yuv411p"),
    container("rm", "rv10"),
    container("wtv", "mpeg2video"),
    container("y4m", "wrapped_avframe"),
)
HEAD = 1 << 17
LIMITS = VideoLimits(max_duration=60, max_frames=500, max_pixels=720 * 480)
# Sizes at which readers of lengths go wrong.
SIZES = st.sampled_from([0, 1, 3, 7, 8, 2**31 - 1, 2**31, 2**32 - 1, 2**56 - 2, 2**56 - 1, 2**63, 2**64 - 1])
FOUND = [
    # Matroska with a size near 2^56, and an AVI list of less than 4 bytes: once answered with 500.
    b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 6 + b"\xfe" + bytes(59),
    b"RIFF\xff\xff\xff\x7fAVI LIST\x02\x00\x00\x00hd" + bytes(40),
    b"\x00\x00\x00\x01ftyp\xff\xff\xff\xff\xff\xff\xff\xff" + bytes(40),
]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("heads")
    found = []
    for number, each in enumerate(FORMATS):
        options = {"count": 3, "size": (32, 32), **each.options}
        path = write_video(folder / f"{number}.{each.suffix}", codec=each.codec, **options)
        found.append(path.read_bytes()[:HEAD])
    return found


@st.composite
def damage(draw: st.DrawFn) -> list[tuple[float, bytes]]:
    """Pieces to write over a head, each at a share of its length."""
    number = SIZES.flatmap(
        lambda size: st.sampled_from(
            [struct.pack(order + "Q", size) for order in "<>"]
            + [struct.pack(order + "I", size % 2**32) for order in "<>"]
        )
    )
    return draw(st.lists(st.tuples(st.floats(0, 1), number | st.binary(max_size=16)), max_size=6))


def damaged(head: bytes, pieces: list[tuple[float, bytes]], length: float) -> bytes:
    data = bytearray(head)
    for share, piece in pieces:
        at = int(share * len(head))
        data[at : at + len(piece)] = piece
    return bytes(data[: max(1, int(length * len(data)))])


def check(data: bytes, live: LiveContainer | None = None) -> None:
    """Index and decode as a file, then decode as a stream."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        path = Path(file.name)
        try:
            index = index_video(path, LIMITS)
            for _ in decode_frames(path, index, range(len(index)), tolerant=True):
                pass
        except VideoError:
            pass
    if live is None:
        return
    options = LiveOptions(limits=LIMITS, tolerant=True, stride=1)
    try:
        for _ in container_frames(live_file(Sent(data), live, options), live, options, LiveCounts()):
            pass
    except (VideoError, RequestError):
        pass


def test_the_heads_are_videos_before_they_are_damaged(heads: list[bytes], tmp_path: Path) -> None:
    for number, head in enumerate(heads):
        path = tmp_path / f"{number}"
        path.write_bytes(head)
        assert len(index_video(path, LIMITS)) >= 1, FORMATS[number]


@pytest.mark.parametrize("data", FOUND)
def test_heads_that_were_once_failures_are_errors_of_the_video(data: bytes) -> None:
    check(data)


@given(number=st.integers(0, len(FORMATS) - 1), pieces=damage(), length=st.floats(0, 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_head_is_an_error_of_the_video(
    heads: list[bytes], number: int, pieces: list[tuple[float, bytes]], length: float
) -> None:
    check(damaged(heads[number], pieces, length), FORMATS[number].live)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    spool = tmp_path_factory.mktemp("spool")
    with live_server(FakeEngines(), ServerSettings(spool_dir=spool, decoder_memory=1 << 30)) as address:
        yield address


@given(number=st.integers(0, len(FORMATS) - 1), pieces=damage(), length=st.floats(0, 1))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_head_is_never_a_failure_of_the_server(
    heads: list[bytes], address: str, number: int, pieces: list[tuple[float, bytes]], length: float
) -> None:
    answer = httpx.post(
        f"http://{address}/detect", content=damaged(heads[number], pieces, length), timeout=60
    )
    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("data", FOUND)
def test_heads_that_were_once_500_are_refused(address: str, data: bytes) -> None:
    answer = httpx.post(f"http://{address}/detect", content=data, timeout=60)
    assert 400 <= answer.status_code < 500, answer.text

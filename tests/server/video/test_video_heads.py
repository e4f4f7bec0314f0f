"""Heads of every container, damaged at random: the index raises nothing but errors of the video."""

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_server import live_server
from media import write_video

from selsa_bundle.runtimes.fake import FakeEngines
from selsa_server.errors import VideoError
from selsa_server.settings import ServerSettings
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

FORMATS = {
    "mp4": ("mp4", "mpeg4"),
    "matroska": ("mkv", "mpeg4"),
    "webm": ("webm", "libvpx"),
    "avi": ("avi", "mpeg4"),
    "mpegts": ("ts", "libx264"),
    "h264": ("h264", "libx264"),
}
HEAD = 4096
LIMITS = VideoLimits(max_duration=60, max_frames=500, max_pixels=640 * 480)
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
    return [
        write_video(folder / f"{name}.{suffix}", 3, codec=codec, size=(32, 32)).read_bytes()[:HEAD]
        for name, (suffix, codec) in FORMATS.items()
    ]


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


def check(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            index_video(Path(file.name), LIMITS)
        except VideoError:
            return


@pytest.mark.parametrize("data", FOUND)
def test_heads_that_were_once_failures_are_errors_of_the_video(data: bytes) -> None:
    check(data)


@given(number=st.integers(0, len(FORMATS) - 1), pieces=damage(), length=st.floats(0, 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_head_is_an_error_of_the_video(
    heads: list[bytes], number: int, pieces: list[tuple[float, bytes]], length: float
) -> None:
    check(damaged(heads[number], pieces, length))


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

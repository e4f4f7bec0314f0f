"""Whole files that only look as if a part were missing: neither the server nor training refuses them."""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from film_kinds import B_FRAMES, encode, ffmpeg
from test_gaps import COUNT, server_count, training_count

from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

SECONDS: Final = COUNT / 25
CODECS: Final = {
    "ts": ("-c:v", "mpeg2video"),
    "mpg": ("-c:v", "mpeg2video"),
    "mxf": ("-c:v", "mpeg2video"),
    "flv": ("-c:v", "flv"),
    "ogv": ("-c:v", "libtheora"),
    "avi": ("-c:v", "mpeg4"),
}
FOREIGN: Final = {
    "zeros": bytes(5000),
    "a tag": b"TAG" + b"title".ljust(125),
    "text": b"\r\n--boundary--\r\n",
}


def film(folder: Path, suffix: str) -> Path:
    return encode(folder / f"film.{suffix}", *CODECS[suffix], seconds=SECONDS)


def is_whole(path: Path) -> bool:
    found = index_video(path, VideoLimits()).damage, server_count(path), training_count(path)
    return found == (None, COUNT, COUNT)


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("suffix", CODECS)
def test_foreign_bytes_after_the_last_part_are_no_damage(tmp_path: Path, suffix: str, foreign: str) -> None:
    path = film(tmp_path, suffix)
    path.write_bytes(path.read_bytes() + FOREIGN[foreign])
    assert is_whole(path)


@pytest.mark.parametrize("change", [lambda data: bytes(1000) + data, lambda data: b"\x5a" * 700 + data])
@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_foreign_bytes_before_the_first_part_are_no_damage(
    tmp_path: Path, suffix: str, change: Callable[[bytes], bytes]
) -> None:
    path = film(tmp_path, suffix)
    path.write_bytes(change(path.read_bytes()))
    assert is_whole(path)


def test_sound_that_is_longer_than_the_video_is_no_damage(tmp_path: Path) -> None:
    source, path = tmp_path / "source.mp4", tmp_path / "film.avi"
    sound = ("-f", "lavfi", "-i", "sine=d=6")
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=64x64:r=25:d={SECONDS}", *sound, *B_FRAMES, source)
    ffmpeg("-i", source, "-c", "copy", path)  # the header counts twice as many frames
    assert is_whole(path)


def test_zeros_between_the_packs_of_a_video_cd_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "film.mpg"
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s=64x64:r=25:d={SECONDS}", "-f", "lavfi", "-i", "sine=d=1.6"),
        *("-target", "pal-vcd", path),
    )
    assert is_whole(path)


def _tags(data: bytes, *, stream: bytes, adds_up: bool) -> bytes:
    at, out, total = 13, data[:13], 0
    while at + 11 <= len(data):
        length = int.from_bytes(data[at + 1 : at + 4], "big")
        total = total * adds_up + length + 11
        out += data[at : at + 8] + stream + data[at + 11 : at + 11 + length] + total.to_bytes(4, "big")
        at += 15 + length
    return out


@pytest.mark.parametrize(("stream", "adds_up"), [(b"\0\0\1", False), (bytes(3), True)])
def test_flv_tags_may_have_a_stream_and_lengths_that_add_up(
    tmp_path: Path, stream: bytes, adds_up: bool
) -> None:
    path = film(tmp_path, "flv")
    path.write_bytes(_tags(path.read_bytes(), stream=stream, adds_up=adds_up))
    assert is_whole(path)


@pytest.mark.parametrize("padding", [b"", b"x"])
def test_avi_chunks_of_odd_length_may_have_no_padding_or_another_than_zero(
    tmp_path: Path, padding: bytes
) -> None:
    path = encode(tmp_path / "film.avi", *CODECS["avi"], size="160x120", seconds=SECONDS)
    data = path.read_bytes()
    at = data.index(b"movi") + 4
    out = data[:at]
    while data[at : at + 4] == b"00dc":
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        out += data[at : at + 8 + length] + padding * (length % 2)
        at += 8 + length + length % 2
    out = out[:4] + struct.pack("<I", len(out) - 8) + out[8:]
    movie = out.index(b"movi") - 4
    path.write_bytes(out[:movie] + struct.pack("<I", len(out) - movie - 4) + out[movie + 4 :])
    assert is_whole(path)


def test_a_live_ogg_stream_has_its_headers_and_then_its_current_page(tmp_path: Path) -> None:
    path = encode(
        tmp_path / "film.ogv", "-c:v", "libtheora", "-g", "5", "-page_duration", "1", seconds=SECONDS
    )
    pages = [b"OggS" + page for page in path.read_bytes().split(b"OggS")[1:]]
    headers = [page for page in pages if page[6:14] == bytes(8)]
    path.write_bytes(b"".join(headers + pages[len(headers) + 20 :]))
    count = server_count(path)
    assert count is not None
    assert (index_video(path, VideoLimits()).damage, training_count(path)) == (None, count)


@pytest.mark.parametrize("parent", [b"trak", b"stbl", b"mdia"])
@pytest.mark.parametrize("zeros", [4, 12])
def test_a_list_of_mp4_boxes_may_end_with_zeros(tmp_path: Path, parent: bytes, zeros: int) -> None:
    path = encode(tmp_path / "film.mp4", *B_FRAMES, seconds=SECONDS)

    def ended(data: bytes) -> bytes:
        at, out = 0, b""
        while at < len(data):
            end, kind = at + int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
            body = data[at + 8 : end]
            if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
                body = ended(body) + bytes(zeros * (kind == parent))
            out, at = out + struct.pack(">I", len(body) + 8) + kind + body, end
        return out

    path.write_bytes(ended(path.read_bytes()))
    assert is_whole(path)


def test_boxes_of_an_unknown_kind_between_fragments_are_no_damage(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4", *B_FRAMES, "-movflags", "cmaf", seconds=SECONDS)
    data = path.read_bytes()
    for match in reversed(list(re.finditer(rb"....moof", data, re.DOTALL))):
        data = data[: match.start()] + b"\0\0\0\x0cabcdwxyz" + data[match.start() :]
    path.write_bytes(data)
    assert is_whole(path)


@pytest.mark.parametrize("foreign", ["zeros", "a tag", "the file again", "an element of its own"])
def test_a_matroska_file_that_does_not_say_how_long_it_is_may_have_more(tmp_path: Path, foreign: str) -> None:
    path = tmp_path / "film.mkv"
    source = f"testsrc2=s=64x64:r=25:d={SECONDS}"
    data = ffmpeg("-f", "lavfi", "-i", source, "-c:v", "mpeg4", "-f", "matroska", "-")
    cluster = data.index(b"\x1f\x43\xb6\x75")
    own = data[:cluster] + b"\x4b\xcd\x84abcd" + data[cluster:]
    again = foreign == "the file again"
    changed = {"the file again": data + data, "an element of its own": own}
    path.write_bytes(changed[foreign] if foreign in changed else data + FOREIGN[foreign])
    assert index_video(path, VideoLimits()).damage is None
    assert server_count(path) == training_count(path) == COUNT * (1 + again)

"""Damage where FFmpeg passes over frames in silence: the server says so, and training refuses the file."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
import pytest
from film_kinds import encode, ffmpeg, read
from media import write_video

from selsa_server.errors import VideoError
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import DecodedFrame, decode_frames
from selsa_server.video.index import VideoIndex, index_video
from selsa_training.data import video_frames
from selsa_training.data.errors import ImageError

COUNT: Final = 40
FRAGMENTS: Final = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

Damage = Callable[[bytearray, int], None]


def zero(begin: int, end: int) -> Damage:
    """Write zeros at these offsets from a packet's position."""

    def damage(data: bytearray, position: int) -> None:
        data[position + begin : position + end] = bytes(end - begin)

    return damage


def without(mark: bytes) -> Damage:
    """Write zeros over the next mark."""

    def damage(data: bytearray, position: int) -> None:
        at = data.index(mark, position)
        data[at : at + len(mark)] = bytes(len(mark))

    return damage


def laced(data: bytearray, position: int) -> None:
    """A block of Matroska that claims to hold several frames."""
    data[position + 3] |= 0x06


@dataclass(frozen=True)
class Kind:
    """A container, how it is written, and what makes FFmpeg pass over frames."""

    suffix: str
    codec: str
    damages: dict[str, Damage]
    options: dict[str, str] = field(default_factory=lambda: {"g": "10"})
    container: dict[str, str] = field(default_factory=dict)
    form: str | None = None
    pix_fmt: str = "yuv420p"

    def write(self, folder: Path) -> Path:
        return write_video(
            folder / f"film.{self.suffix}",
            COUNT,
            codec=self.codec,
            options=self.options,
            container_options={"fflags": "+bitexact", **self.container},
            container_format=self.form,
            pix_fmt=self.pix_fmt,
        )


BLOCK: Final = {"head of a block": zero(-3, 0), "track of a block": zero(0, 1), "lacing": laced}
KINDS: Final = {
    "mkv": Kind("mkv", "libx264", BLOCK),
    "mkv of JPEG": Kind("mkv", "mjpeg", BLOCK, {}, pix_fmt="yuvj420p"),
    "webm": Kind("webm", "libvpx", BLOCK),
    "live webm": Kind(
        "webm",
        "libvpx",
        BLOCK | {"head of a cluster": without(b"\x1f\x43\xb6\x75")},
        container={"live": "1", "cluster_time_limit": "300"},
    ),
    "fragmented mp4": Kind(
        "mp4",
        "libx264",
        {"head of a fragment": without(b"moof"), "head of a run": without(b"trun")},
        container=FRAGMENTS,
    ),
    "mp4": Kind("mp4", "libx264", {}, container={"movflags": "faststart"}),
    "avi": Kind("avi", "mpeg4", {"head of a chunk": zero(-8, 0)}),
    "avi of JPEG": Kind("avi", "mjpeg", {"head of a chunk": zero(-8, -4)}, {}, pix_fmt="yuvj420p"),
    "flv": Kind("flv", "libx264", {"head of a tag": zero(0, 4), "length of a tag": zero(1, 4)}),
    "ts": Kind("ts", "libx264", {"start code": without(b"\0\0\1\xe0"), "sync": zero(0, 1)}),
    "ogg": Kind("ogv", "libvpx", {"head of a page": without(b"OggS"), "checksum": zero(22, 26)}),
    "mxf": Kind("mxf", "mpeg2video", {"key": zero(0, 4)}),
    "ivf": Kind("ivf", "libvpx", {"length of a frame": zero(0, 4)}),
    "gif": Kind("gif", "gif", {"length of a part": zero(19, 20)}, {}, pix_fmt="rgb8"),
}
DAMAGES: Final = [(name, damage) for name, kind in KINDS.items() for damage in kind.damages]


def packets(path: Path) -> list[tuple[int, int]]:
    """Position and size of each packet."""
    with av.open(str(path)) as container:
        return [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]


def server_count(path: Path) -> int | None:
    """Frames that the strict server delivers at their times; None if it refuses the file."""
    try:
        index = index_video(path, VideoLimits())
        frames = list(decode_frames(path, index, range(len(index)), tolerant=False))
    except VideoError:
        return None
    assert [frame.index for frame in frames] == list(range(len(index)))
    return len(frames)


def training_count(path: Path) -> int | None:
    """The same of training."""
    try:
        count = video_frames.index_video(path).count
        assert sum(1 for _ in video_frames.frames_in_order(path)) == count
    except ImageError:
        return None
    return count


def damaged_index(path: Path) -> VideoIndex:
    """The index of a file that strict decoding refuses and tolerant decoding reads."""
    index = index_video(path, VideoLimits())
    frames = list(decode_frames(path, index, range(len(index)), tolerant=True))
    assert any(isinstance(frame, DecodedFrame) for frame in frames)
    with pytest.raises(VideoError) as raised:
        read(path)
    assert raised.value.code == "truncated"
    return index


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_has_no_gap(tmp_path: Path, name: str) -> None:
    path = KINDS[name].write(tmp_path)
    assert (server_count(path), training_count(path)) == (COUNT, COUNT)


@pytest.mark.parametrize("number", [1, 17, 38], ids=["beginning", "middle", "end"])
@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_frames_that_are_passed_over_are_damage(tmp_path: Path, name: str, damage: str, number: int) -> None:
    path = KINDS[name].write(tmp_path)
    data = bytearray(path.read_bytes())
    try:
        KINDS[name].damages[damage](data, packets(path)[number][0])
    except ValueError:
        pytest.skip("there is no such part after the last frames")
    path.write_bytes(data)
    assert damaged_index(path).damage is not None
    assert training_count(path) is None


def test_an_mp4_file_with_more_time_offsets_than_samples_is_damaged(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "film.mp4", COUNT, options={"bf": "2"}, container_options={"movflags": "faststart"}
    )
    data = bytearray(path.read_bytes())
    entry = data.index(b"stsz") + 12
    data[entry : entry + 4] = (COUNT - 5).to_bytes(4, "big")
    path.write_bytes(data)
    assert (server_count(path), training_count(path)) == (None, None)


@pytest.mark.parametrize("name", KINDS)
def test_damage_anywhere_loses_no_frame_in_silence(tmp_path: Path, name: str) -> None:
    path = KINDS[name].write(tmp_path)
    whole, chance = path.read_bytes(), random.Random(3)
    for _ in range(15):
        data, at, length = bytearray(whole), chance.randrange(len(whole)), chance.choice([1, 4, 16, 200])
        kind = chance.choice(["other", "lost", "more"])
        data[at : at if kind == "more" else at + length] = b"" if kind == "lost" else chance.randbytes(length)
        path.write_bytes(data)
        assert server_count(path) in (None, COUNT)
        assert training_count(path) in (None, COUNT)


# What may be in a Matroska file


@pytest.fixture(scope="module")
def piped(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film with sound at varying distances of time, whose clusters do not say how long they are."""
    path = tmp_path_factory.mktemp("piped") / "film.mkv"
    encode(path, "-vf", "select=gt(mod(n\\,5)\\,1)", "-fps_mode", "vfr", "-c:v", "mpeg4", seconds=1.6)
    return ffmpeg(
        *("-i", path, "-f", "lavfi", "-i", "sine=d=1.6", "-map", "0", "-map", "1"),
        *("-c:v", "copy", "-c:a", "pcm_s16le", "-f", "matroska", "-"),
    )


def in_group(block: bytes, length: bytes) -> bytes:
    whole = b"\xa1" + length + block
    return b"\xa0\x10" + (len(whole) + 3).to_bytes(3, "big") + whole + b"\x9b\x81\x28"


def with_lace(block: bytes, _: bytes) -> bytes:
    """A block of sound whose samples are two frames of one size."""
    data = block[:3] + bytes([block[3] | 0x04, 1]) + block[4:]
    return b"\xa3\x10" + len(data).to_bytes(3, "big") + data


@pytest.mark.parametrize(
    ("track", "change"),
    [
        (1, in_group),
        (2, in_group),
        (2, with_lace),
        (1, lambda block, length: b"\xec\x84fill\xa3" + length + block),
        (1, lambda block, length: b"\xab\x81\x07\xa3" + length + block),
    ],
    ids=["groups", "groups of sound", "lacing of sound", "padding", "size of the cluster before"],
)
def test_a_matroska_file_may_have_all_that_the_standard_allows(
    piped: bytes, tmp_path: Path, track: int, change: Callable[[bytes, bytes], bytes]
) -> None:
    path = tmp_path / "film.mkv"
    data, changed = bytearray(piped), 0
    for mark in re.finditer(b"\x1f\x43\xb6\x75", piped):  # clusters of unknown length
        width = 9 - data[mark.end()].bit_length()
        data[mark.end() : mark.end() + width] = ((1 << 7 * width + 1) - 1).to_bytes(width, "big")
    path.write_bytes(data)
    count = len(read(path))
    with av.open(str(path)) as container:
        stream = container.streams[track - 1]
        found = [(packet.pos or 0, packet.size + 4) for packet in container.demux(stream) if packet.size]
    for position, size in reversed(found):
        width = 1 if size < 127 else 2
        head = position - width - 1
        if data[head] == 0xA3:
            length = data[head + 1 : position]
            data = (
                data[:head]
                + change(bytes(data[position : position + size]), bytes(length))
                + data[position + size :]
            )
            changed += 1
    assert changed > 3
    path.write_bytes(data)
    assert (server_count(path), training_count(path)) == (count, count)


@pytest.mark.parametrize(
    "options",
    [
        ("-cues_to_front", "1", "-reserve_index_space", "5000"),
        ("-write_crc32", "0"),
        ("-cluster_time_limit", "100"),
    ],
    ids=lambda options: options[0],
)
def test_a_matroska_file_may_be_written_in_other_ways(
    piped: bytes, tmp_path: Path, options: tuple[str, ...]
) -> None:
    source, path = tmp_path / "source.mkv", tmp_path / "film.mkv"
    source.write_bytes(piped)
    ffmpeg("-i", source, "-c", "copy", *options, path)
    assert server_count(path) == training_count(path) == len(read(source))


@pytest.mark.parametrize("form", ["avi", "flv", "mpegts", "matroska", "vob", "ogg"])
def test_a_file_that_was_written_to_a_pipe_is_whole(tmp_path: Path, form: str) -> None:
    codec = {"flv": "flv", "vob": "mpeg2video", "mpegts": "mpeg2video", "ogg": "libvpx"}.get(form, "mpeg4")
    path = tmp_path / "film"
    source = "testsrc2=s=64x64:r=25:d=1.6"
    path.write_bytes(ffmpeg("-f", "lavfi", "-i", source, "-c:v", codec, "-f", form, "-"))
    assert server_count(path) == training_count(path) == COUNT


def test_bytes_of_zero_after_the_last_part_are_no_gap(tmp_path: Path) -> None:
    path = KINDS["flv"].write(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert index_video(path, VideoLimits()).damage is None


def test_the_sentence_about_a_gap_says_what_to_do(tmp_path: Path) -> None:
    path = KINDS["mkv"].write(tmp_path)
    data = bytearray(path.read_bytes())
    zero(-3, 0)(data, packets(path)[17][0])
    path.write_bytes(data)
    assert re.search("gap.*send the whole file, or use decode=tolerant", damaged_index(path).damage or "")

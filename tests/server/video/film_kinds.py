"""Videos of the kinds that real users have, made by the ffmpeg command or bit by bit."""

import contextlib
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
import numpy as np
import pytest

from selsa_server.schema.stream import LiveContainer
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import DecodedFrame, decode_frames
from selsa_server.video.index import index_video
from selsa_server.video.live.container import LiveCounts, LiveOptions, container_frames
from selsa_server.video.live.frames import live_file
from selsa_server.video.live.input import LiveMessage

__all__ = [
    "B_FRAMES",
    "OPEN_GOP",
    "X264",
    "X265",
    "Sent",
    "delivered",
    "encode",
    "ffmpeg",
    "field_coded",
    "field_coded_mpeg2",
    "hls_parts",
    "joined",
    "pixels_by_ffmpeg",
    "read",
    "remux",
    "sent",
    "with_empty_chunk",
]

X264: Final = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")
X265: Final = ("-c:v", "libx265", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-x265-params")
B_FRAMES: Final = (*X264, "-bf", "3", "-g", "8")
OPEN_GOP: Final = "open-gop=1:keyint=8:min-keyint=8:bframes=3"
SOURCE: Final = "testsrc2=s={size}:r={rate}:d={seconds}"


def ffmpeg(*arguments: object) -> bytes:
    """What the ffmpeg command writes to its output; skips the test without it, or without the encoder."""
    command = shutil.which("ffmpeg")
    if command is None:
        pytest.skip("there is no ffmpeg command (Debian: apt-get install ffmpeg)")
    done = subprocess.run(
        [command, "-v", "error", "-y", *map(str, arguments)], capture_output=True, check=False
    )
    message = done.stderr.decode(errors="replace")
    if done.returncode and ("Unknown encoder" in message or "Encoder not found" in message):
        pytest.skip(f"this ffmpeg lacks an encoder: {message.strip()}")
    assert done.returncode == 0, message
    return done.stdout


def encode(
    path: Path, *options: object, size: str = "64x64", rate: str = "25", seconds: float = 0.64
) -> Path:
    """A test film; its frames differ, and it moves."""
    source = SOURCE.format(size=size, rate=rate, seconds=seconds)
    ffmpeg("-f", "lavfi", "-i", source, *options, path)
    return path


def remux(source: Path, path: Path, *, skip: int = 0, container_format: str | None = None) -> Path:
    """The packets of a film without the first `skip`, in another container."""
    with av.open(str(source)) as film, av.open(str(path), "w", format=container_format) as out:
        target = out.add_stream_from_template(film.streams.video[0])
        for number, packet in enumerate(film.demux(video=0)):
            if packet.size and number >= skip:
                packet.stream = target
                out.mux(packet)
    return path


def hls_parts(source: Path, folder: Path) -> list[bytes]:
    """The init segment and the media segments of an HLS stream of fragmented MP4."""
    folder.mkdir()
    ffmpeg(
        *("-i", source, "-c", "copy", "-f", "hls", "-hls_segment_type", "fmp4", "-hls_time", "0.2"),
        *("-hls_playlist_type", "vod", folder / "list.m3u8"),
    )
    segments = sorted(folder.glob("*.m4s"), key=lambda path: int(path.stem.removeprefix("list")))
    return [(folder / "init.mp4").read_bytes(), *(path.read_bytes() for path in segments)]


def with_empty_chunk(path: Path, place: int) -> Path:
    """An AVI file with a chunk without bytes before chunk `place`: a frame that the recorder dropped."""
    data = bytearray(path.read_bytes())
    movie, index = data.index(b"movi"), data.rindex(b"idx1")
    count = struct.unpack_from("<I", data, index + 4)[0] // 16
    entries = [bytearray(data[at : at + 16]) for at in range(index + 8, index + 8 + 16 * count, 16)]
    (offset,) = struct.unpack_from("<I", entries[place], 8)
    for entry in entries[place:]:
        struct.pack_into("<I", entry, 8, struct.unpack_from("<I", entry, 8)[0] + 8)
    entries.insert(place, bytearray(b"00dc" + struct.pack("<III", 0, offset, 0)))
    data[index + 4 : index + 8 + 16 * count] = struct.pack("<I", 16 * len(entries)) + b"".join(entries)
    data[movie + offset : movie + offset] = b"00dc" + bytes(4)
    for at, more in ((4, 24), (movie - 4, 8), (data.index(b"avih") + 24, 1), (data.index(b"strh") + 40, 1)):
        struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] + more)
    path.write_bytes(data)
    return path


def delivered(path: Path) -> list[float | None]:
    """Times of the frames that the decoder gives to the simplest of programs."""
    times: list[float | None] = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            with contextlib.suppress(av.FFmpegError):
                times += [frame.time for frame in packet.decode()]
    return times


class Sent:
    """A file that a client sends."""

    def __init__(self, data: bytes) -> None:
        self._pieces: Iterator[bytes] = (data[at : at + 3000] for at in range(0, len(data), 3000))

    def get(self) -> LiveMessage | None:
        piece = next(self._pieces, None)
        return None if piece is None else LiveMessage(piece)


def sent(path: Path, kind: LiveContainer, *, tolerant: bool = False) -> tuple[list[DecodedFrame], LiveCounts]:
    counts = LiveCounts()
    options = LiveOptions(limits=VideoLimits(), tolerant=tolerant, stride=1)
    items = container_frames(live_file(Sent(path.read_bytes()), kind, options), kind, options, counts)
    return [item for item in items if isinstance(item, DecodedFrame)], counts


def read(path: Path) -> list[DecodedFrame]:
    index = index_video(path, VideoLimits())
    frames = list(decode_frames(path, index, range(len(index)), tolerant=False))
    assert all(isinstance(frame, DecodedFrame) for frame in frames)
    return [frame for frame in frames if isinstance(frame, DecodedFrame)]


def pixels_by_ffmpeg(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    raw = ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "bgr24", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, *shape)[..., ::-1]


def joined(tmp_path: Path, film: Path, *offsets: float) -> Path:
    """Transport streams that begin at these seconds, put one after the other."""
    data = b""
    for offset in offsets:
        part = tmp_path / f"{offset}.ts"
        ffmpeg("-i", film, "-c", "copy", "-output_ts_offset", offset, part)
        data += part.read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(data)
    return path


def field_coded(path: Path, frames: int) -> Path:
    """An H.264 stream of 64x64 whose pictures are pairs of fields, which no encoder of FFmpeg's makes.

    ITU-T H.264 section 7.3: all macroblocks are I_PCM, so that there is nothing to encode.
    """
    parameters = _nal(0x67, _sequence_parameters()) + _nal(0x68, _picture_parameters())
    fields = (
        _nal(0x65 if number == 0 and not bottom else 0x61, _field(number, bottom=bottom))
        for number in range(frames)
        for bottom in (False, True)
    )
    path.write_bytes(parameters + b"".join(fields))
    return path


def field_coded_mpeg2(path: Path, frames: int) -> Path:
    """An MPEG-2 stream of 64x64 whose pictures are pairs of fields, which no encoder of FFmpeg's makes.

    ISO/IEC 13818-2 section 6.2: all macroblocks are intra and have a DC coefficient alone.
    """
    fields = (_mpeg2_field(number, bottom=bottom) for number in range(frames) for bottom in (False, True))
    path.write_bytes(b"".join(fields) + b"\0\0\1\xb7")
    return path


def _mpeg2_field(number: int, *, bottom: bool) -> bytes:
    size, rate = _Bits().put(64, 12).put(64, 12).put(1, 4), 3  # square pixels, 25 frames a second
    sequence = size.put(rate, 4).put(1000, 18).put(1, 1).put(20, 10).put(0, 3)
    extension = _Bits().put(1, 4).put(0x48, 8).put(0, 1).put(1, 2).put(0, 16).put(1, 1).put(0, 16)
    picture = _Bits().put(number % 1024, 10).put(1, 3).put(0xFFFF, 16)  # an I picture
    coding = _Bits().put(8, 4).put(0xFFFF, 16).put(0, 2).put(1 + bottom, 2).put(0, 10)
    parts = [] if bottom else [(0xB3, sequence), (0xB5, extension)]
    parts += [(0x00, picture), (0xB5, coding), *((row, _mpeg2_slice(number, row)) for row in (1, 2))]
    return b"".join(b"\0\0\1" + bytes([code]) + bytes(bits.align(0).data) for code, bits in parts)


def _mpeg2_slice(number: int, row: int) -> "_Bits":
    bits = _Bits().put(1, 5).put(0, 1)
    level = 1 + (5 * number + 31 * row) % 63  # above the predicted grey
    width = level.bit_length()
    for place in range(4):
        bits.put(0b11, 2)  # the next macroblock, intra
        sizes = {1: (0b00, 2), 2: (0b01, 2), 3: (0b101, 3), 4: (0b110, 3), 5: (0b1110, 4), 6: (0b11110, 5)}
        for block in range(4):
            if place == block == 0:
                bits.put(*sizes[width]).put(level, width).put(0b10, 2)
            else:
                bits.put(0b10010, 5)  # no difference, end of block
        bits.put(0b0010, 4).put(0b0010, 4)
    return bits


def _sequence_parameters() -> "_Bits":
    bits = _Bits()
    bits.put(77, 8).put(0, 8).put(30, 8)  # main profile, level 3
    bits.golomb(0, 0, 2, 1)  # identifier, bits of frame_num, picture order count of type 2, reference frames
    bits.put(0, 1).golomb(3, 1)  # 4 macroblocks wide, 2 pairs of them high
    return bits.put(0, 1).put(0, 1).put(1, 1).put(0, 1).put(0, 1)  # frame_mbs_only_flag = 0


def _picture_parameters() -> "_Bits":
    bits = _Bits()
    bits.golomb(0, 0).put(0, 2).golomb(0, 0, 0).put(0, 3).golomb(0, 0, 0)
    return bits.put(1, 1).put(0, 2)  # slices say that they are not deblocked


def _field(number: int, *, bottom: bool) -> "_Bits":
    bits = _Bits()
    bits.golomb(0, 7, 0).put(number % 16, 4).put(1, 1).put(bottom, 1)
    idr = number == 0 and not bottom
    if idr:
        bits.golomb(0).put(0, 2)
    else:
        bits.put(0, 1)
    bits.golomb(0, 1)
    for place in range(8):
        bits.golomb(25).align(0)  # I_PCM
        bits.bytes(bytes([16 + (13 * number + 20 * place + 5 * bottom) % 200]) * 256 + b"\x80" * 128)
    return bits


def _nal(head: int, bits: "_Bits") -> bytes:
    return b"\0\0\0\1" + bytes([head]) + b"".join(_escaped(bits.put(1, 1).align(0).data))


def _escaped(data: bytearray) -> Iterator[bytes]:
    yield bytes(data).replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")


class _Bits:
    """A writer of bits."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._value = self._count = 0

    def put(self, value: int, count: int) -> "_Bits":
        for place in reversed(range(count)):
            self._value = self._value << 1 | value >> place & 1
            self._count += 1
            if self._count == 8:
                self.data.append(self._value)
                self._value = self._count = 0
        return self

    def golomb(self, *values: int) -> "_Bits":
        for value in values:
            width = (value + 1).bit_length()
            self.put(value + 1, 2 * width - 1)
        return self

    def align(self, bit: int) -> "_Bits":
        while self._count:
            self.put(bit, 1)
        return self

    def bytes(self, data: bytes) -> None:
        assert not self._count
        self.data += data

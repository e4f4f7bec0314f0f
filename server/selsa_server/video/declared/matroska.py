"""What a Matroska or WebM file claims before its first cluster: RFC 9559, section 5.1."""

import math
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from selsa_server.video.declared.track import DeclaredTrack

SEGMENT: Final = 0x18538067
CLUSTER: Final = 0x1F43B675
INFO: Final = 0x1549A966
TIMESTAMP_SCALE: Final = 0x2AD7B1
DURATION: Final = 0x4489
TRACKS: Final = 0x1654AE6B
TRACK_ENTRY: Final = 0xAE
TRACK_TYPE: Final = 0x83
VIDEO: Final = 0xE0
PIXEL_WIDTH: Final = 0xB0
PIXEL_HEIGHT: Final = 0xBA

VIDEO_TYPE: Final = 1
HEAD_BYTES: Final = 12  # of an element at most: its number and its length
MAX_ELEMENTS: Final = 10_000
# Of Info and Tracks, which are some hundred bytes; with a codec's private data and names, some thousand.
MAX_BYTES: Final = 1 << 20


def matroska_tracks(file: BinaryIO, size: int) -> tuple[DeclaredTrack, ...] | None:
    """The video tracks of a file of which `size` bytes are there; None when more of it may tell."""
    seconds, tracks = 0.0, b""
    position = 0
    for _ in range(MAX_ELEMENTS):
        file.seek(position)
        head = file.read(HEAD_BYTES)
        number, length, begin = _head(head, 0)
        if not number and len(head) < HEAD_BYTES:
            return None
        if not number or number == CLUSTER:
            return _video_tracks(tracks, seconds)
        if number == SEGMENT:
            position += begin
            continue
        if length is None or position + begin + length > size:
            return None
        if number in (INFO, TRACKS):
            file.seek(position + begin)
            body = file.read(min(length, MAX_BYTES))
            seconds, tracks = (_seconds(body), tracks) if number == INFO else (seconds, body)
        position += begin + length
    return ()


def _seconds(info: bytes) -> float:
    """Of the longest stream; 0 when it is not said, as in a live recording."""
    parts = dict(_elements(info))
    scale = int.from_bytes(parts.get(TIMESTAMP_SCALE, (1_000_000).to_bytes(4, "big")), "big")
    raw = parts.get(DURATION, b"")
    ticks = struct.unpack(">f" if len(raw) == 4 else ">d", raw)[0] if len(raw) in (4, 8) else 0.0
    return ticks * scale / 1e9 if math.isfinite(ticks) else 0.0


def _video_tracks(tracks: bytes, seconds: float) -> tuple[DeclaredTrack, ...]:
    entries = [dict(_elements(body)) for number, body in _elements(tracks) if number == TRACK_ENTRY]
    videos = [
        dict(_elements(entry.get(VIDEO, b"")))
        for entry in entries
        if int.from_bytes(entry.get(TRACK_TYPE, b""), "big") == VIDEO_TYPE
    ]
    return tuple(
        DeclaredTrack(
            width=int.from_bytes(video.get(PIXEL_WIDTH, b""), "big"),
            height=int.from_bytes(video.get(PIXEL_HEIGHT, b""), "big"),
            seconds=seconds,
        )
        for video in videos
    )


def _elements(parent: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    for _ in range(MAX_ELEMENTS):
        number, length, begin = _head(parent, position)
        if not number or length is None or position + begin + length > len(parent):
            return
        yield number, parent[position + begin : position + begin + length]
        position += begin + length


def _head(data: bytes, at: int) -> tuple[int, int | None, int]:
    """An element's number with its marker (0: none is there), its length (None: unknown), bytes of both."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    if not first or width > 4 or at + width >= len(data) or not data[at + width]:
        return 0, None, 0
    number = int.from_bytes(data[at : at + width], "big")
    bytes_of_length = 9 - data[at + width].bit_length()
    end = at + width + bytes_of_length
    if end > len(data):
        return 0, None, 0
    mask = (1 << 7 * bytes_of_length) - 1
    length = int.from_bytes(data[at + width : end], "big") & mask
    return number, None if length == mask else length, end - at

"""How many samples an MP4 file claims to have without listing them.

A table of samples of one constant size needs 20 bytes whatever its count, and FFmpeg reserves memory for
each of them on opening: a file of 3 kB can ask for gigabytes. So the counts are looked at before.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from selsa_server.errors import VideoError

MAX_BOXES: Final = 2_000_000
PARENTS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
PER_SAMPLE_FIELDS: Final = 0xF00  # of a track run: any of duration, size, flags, time offset


def unlisted_samples(path: Path) -> int:
    """Samples of all tracks that are counted but not listed; 0 for a file that is no MP4.

    PCM sound is left out: FFmpeg groups it by chunks, which are listed.

    Raises:
        VideoError: more than `MAX_BOXES` boxes.
    """
    with path.open("rb") as file:
        return samples_unlisted_in(file, path.stat().st_size)


def samples_unlisted_in(file: BinaryIO, size: int) -> int:
    """The same of an open file, or of a part of one, of `size` bytes.

    Raises:
        VideoError: more than `MAX_BOXES` boxes.
    """
    total = constant = 0
    one_tick_each = False
    for kind, start in _boxes(file, size):
        if kind == b"trak":
            total += 0 if one_tick_each else constant
            constant, one_tick_each = 0, False
        flags, first, second, third = _words(file, start)
        if kind == b"stsz":
            constant = second if first else 0
        elif kind == b"stts":
            one_tick_each = first == 1 and third == 1
        elif kind == b"trun":
            total += 0 if flags & PER_SAMPLE_FIELDS else first
    return total + (0 if one_tick_each else constant)


def _words(file: BinaryIO, start: int) -> tuple[int, int, int, int]:
    file.seek(start)
    body = file.read(16)
    return (
        int.from_bytes(body[:4], "big"),
        int.from_bytes(body[4:8], "big"),
        int.from_bytes(body[8:12], "big"),
        int.from_bytes(body[12:], "big"),
    )


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Kind and start of the contents of every box, parents before their children, `MAX_BOXES` at most."""
    position = 0
    for _ in range(MAX_BOXES):
        file.seek(position)
        head = file.read(16)
        length, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, begin = int.from_bytes(head[8:], "big"), 16
        if len(head) < 8 or (0 < length < begin):
            return
        yield kind, position + begin
        if kind in PARENTS:
            position += begin
        elif length:
            position += length
        else:
            return  # to the end of the file
        if position >= size:
            return
    raise VideoError(
        "undecodable", "The MP4 file has too many parts to look through; write it again unfragmented."
    )

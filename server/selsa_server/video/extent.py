"""How many bytes a container says its file has: a file that was cut off shows it here before decoding.

Only the outermost structure is read, a few bytes per box, whatever the file claims.
"""

import os
from pathlib import Path
from typing import BinaryIO, Final

MAX_BOXES: Final = 100_000
EBML_MAGIC: Final = b"\x1a\x45\xdf\xa3"
SEGMENT_MAGIC: Final = b"\x18\x53\x80\x67"
MP4_BOXES: Final = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof"}
)


def is_mp4(path: Path) -> bool:
    """Whether the file begins as an MP4 or QuickTime file does."""
    with path.open("rb") as file:
        return file.read(8)[4:] in MP4_BOXES


def is_matroska(path: Path) -> bool:
    """Whether the file begins as a Matroska or WebM file does."""
    with path.open("rb") as file:
        return file.read(4) == EBML_MAGIC


def missing_bytes(path: Path) -> int:
    """Bytes by which the file is shorter than its own container says; 0 when it is whole or does not say.

    Knows MP4 and QuickTime, Matroska and WebM, and AVI.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if head[4:8] in MP4_BOXES:
            declared = _mp4_end(file, size)
        elif head[:4] == EBML_MAGIC:
            declared = _matroska_end(file)
        elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            declared = 8 + int.from_bytes(head[4:8], "little")
        else:
            declared = 0
    return max(0, declared - size)


def _mp4_end(file: BinaryIO, size: int) -> int:
    position = 0
    for _ in range(MAX_BOXES):
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        # Length 0 is "to the end of the file"; less than a head is no box at all, and padding is common.
        if len(head) < 8 or length < 8:
            return position
        position += length
        if position >= size:
            return position
    return 0


def _matroska_end(file: BinaryIO) -> int:
    file.seek(4)
    header = _variable_int(file)
    if header is None:
        return 0
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != SEGMENT_MAGIC:
        return 0
    segment = _variable_int(file)
    return 0 if segment is None else file.tell() + segment


def _variable_int(file: BinaryIO) -> int | None:
    """An EBML size: leading zero bits of the first byte count the bytes that follow; all ones is unknown."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    extra = 8 - first[0].bit_length()
    rest = file.read(extra)
    if len(rest) < extra:
        return None
    value_bits = 7 * (extra + 1)
    value = int.from_bytes(first + rest, "big") & ((1 << value_bits) - 1)
    return None if value == (1 << value_bits) - 1 else value

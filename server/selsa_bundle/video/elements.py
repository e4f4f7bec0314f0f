"""The one place that walks MP4 boxes and EBML elements.

Lengths come from the file and are hostile: nothing is read or sought beyond the bytes that are there.
"""

from collections.abc import Iterator
from io import FileIO
from typing import BinaryIO, Final, NamedTuple

EBML_MAGIC: Final = b"\x1a\x45\xdf\xa3"
EBML: Final = int.from_bytes(EBML_MAGIC, "big")
SEGMENT: Final = 0x18538067
CLUSTER: Final = 0x1F43B675
INFO: Final = 0x1549A966
TIMESTAMP_SCALE: Final = 0x2AD7B1
MP4_BOXES: Final = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof"}
)
EBML_HEAD: Final = 12  # bytes of an element's identifier and length at most, of the elements that are walked
MAX_ELEMENTS: Final = 2_000_000
MAX_PARTS: Final = 1 << 24  # of which only the heads are read; an MPEG program stream of 16 GB has as many
MAX_STREAMS: Final = 64  # at a time, as many as FFmpeg may open
TOO_MANY: Final = "The file has too many parts to look through; remux it."
PADDING: Final = 1 << 16  # zeros that may end a box of boxes
PIECE: Final = 1 << 20


class StructureError(ValueError):
    """The structure of a file cannot be walked or makes no sense. The message is for its owner."""


class GapError(Exception):
    """A part does not begin where the one before it ends, or contains something else than it may."""


class Box(NamedTuple):
    """An MP4 box.

    Attributes:
        kind: its four letters.
        begin: offset of its contents.
        end: offset after its last byte, as its length claims; it may lie beyond the file.
    """

    kind: bytes
    begin: int
    end: int


class Element(NamedTuple):
    """An EBML element.

    Attributes:
        number: its identifier, marker bits included.
        begin: offset of its contents.
        end: offset after its last byte, as its length claims; None for an unknown length.
    """

    number: int
    begin: int
    end: int | None


def box_head(head: bytes) -> tuple[int, bytes, int]:
    """Length, kind and length of the head of the box that begins with `head`, 16 bytes if there are as many.

    The length is 0 for "to the end of the file".
    """
    length, kind = int.from_bytes(head[:4], "big"), head[4:8]
    return (int.from_bytes(head[8:16], "big"), kind, 16) if length == 1 else (length, kind, 8)


def boxes(
    file: BinaryIO | FileIO, size: int, parents: frozenset[bytes] = frozenset(), *, begin: int = 0
) -> Iterator[Box]:
    """Boxes of the first `size` bytes of a file, those of `parents` before their children.

    Args:
        size: bytes to walk.
        parents: kinds whose children are walked as well.
        begin: offset of the first box.

    Raises:
        StructureError: there are more than `MAX_ELEMENTS` boxes.
    """
    position = begin
    ends: list[int] = []  # of the parents around the current box
    for _ in range(MAX_ELEMENTS):
        # A list of boxes may end with a number that is 0; less than a head is no box.
        while ends and position > ends[-1] - 8:
            position = max(position, ends.pop())
        if position >= size:
            return
        file.seek(position)
        head = file.read(16)
        length, kind, head_length = box_head(head)
        # Less than a head is no box; padding is common.
        if len(head) < 8 or 0 < length < head_length:
            return
        end = position + length if length else size
        if ends and not any(head[:8]) and ends[-1] - position <= PADDING:
            file.seek(position)
            if not any(file.read(ends[-1] - position)):
                position = ends.pop()
                continue
        yield Box(kind, position + head_length, end)
        if kind in parents:
            ends.append(min(end, ends[-1]) if ends else end)
        position = position + head_length if kind in parents else end
    raise StructureError("The MP4 file has too many parts to look through; write it again unfragmented.")


def ebml_head(head: bytes) -> tuple[int, int | None, int] | None:
    """Identifier, length (None: unknown) and bytes of both at the start of `head`; None if incomplete."""
    first = head[0] if head else 0
    width = 9 - first.bit_length()
    if not first or width > 4 or width >= len(head) or not head[width]:
        return None
    end = width + 9 - head[width].bit_length()
    if end > len(head):
        return None
    mask = (1 << 7 * (end - width)) - 1
    length = int.from_bytes(head[width:end], "big") & mask
    return int.from_bytes(head[:width], "big"), None if length == mask else length, end


def elements(file: BinaryIO | FileIO, size: int, parents: frozenset[int]) -> Iterator[Element]:
    """EBML elements of the first `size` bytes of a file, those of `parents` before their children.

    Ends at the first element of unknown length that is no parent.

    Raises:
        StructureError: there are more than `MAX_ELEMENTS` elements.
    """
    position = 0
    for _ in range(MAX_ELEMENTS):
        file.seek(position)
        found = ebml_head(file.read(EBML_HEAD))
        if found is None:
            return
        number, length, head_length = found
        begin = position + head_length
        end = None if length is None else begin + length
        yield Element(number, begin, end)
        if number in parents:
            position = begin
        elif end is None:
            return
        else:
            position = end
        if position >= size:
            return
    raise StructureError("The Matroska file has too many parts to look through; remux it.")


def holds(file: FileIO, at: int, mark: bytes) -> bool:
    """Whether a file has a mark at or after an offset; of an empty mark, anything but zeros."""
    file.seek(at)
    before = b""
    while piece := file.read(PIECE):
        if mark in before + piece if mark else piece.strip(b"\0"):
            return True
        before = piece[-len(mark) :]
    return False

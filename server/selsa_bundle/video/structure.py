"""Whether the parts of a container follow one another without a gap.

Where a part makes no sense, FFmpeg's demuxers search for the next one that does, and do not report the frames
between. So the parts are visited here: their heads are read, their contents are not.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from typing import Final

from selsa_bundle.video.elements import MAX_PARTS, MAX_STREAMS, TOO_MANY, GapError, StructureError, holds
from selsa_bundle.video.matroska import visit_elements

FLV_HEAD: Final = 13  # bytes before the first tag
FLV_MAGIC: Final = b"FLV"
FLV_TAGS: Final = frozenset({8, 9, 18})
CHUNK_NAME: Final = re.compile(rb"[0-9A-Za-z]{2}[0-9A-Za-z_]{2}")
COMMON_CHUNK: Final = re.compile(rb"[0-9]{2}[A-Za-z_]{2}|ix[0-9]{2}|LIST|JUNK|RIFF|idx1")
CHUNK_HEAD: Final = 8
PALETTE: Final = b"pc"  # kind of a chunk that changes the colours
UNKNOWN_LENGTHS: Final = (0, 0xFFFFFFFF)  # of an AVI file that its writer could not go back in
MXF_KEY: Final = b"\x06\x0e\x2b\x34"
MXF_RUN_IN: Final = 1 << 16
NEVER: Final = 1 << 62
GIF_PICTURE: Final = re.compile(rb"\x21\xf9\x04.{4}\0\x2c", re.DOTALL)  # control extension, descriptor
MAX_GIF: Final = 64 << 20  # bytes that are visited
MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
START_CODE: Final = b"\0\0\1"
FIRST_PACK: Final = re.compile(rb"\x00\x00\x01[\xb9-\xff]")
MAX_BEFORE: Final = 1 << 20  # bytes that come first and are no part of the container
ZEROS: Final = 1 << 12  # bytes that are looked at together, between parts
OGG_PAGE: Final = b"OggS"
BEGINS, ENDS = 2, 4  # flags of a page
# The last part may lack this many bytes: the length after a tag of FLV, the padding of a chunk of AVI.
MISSING_AT_END: Final = 4


def has_gap(name: str, file: FileIO, size: int, first: int, last: int, *, packets: int, every: bool) -> bool:
    """Whether a file has a gap in which frames may be lost; False for a format that is not known here.

    Args:
        name: FFmpeg's name of the format.
        size: bytes of the file.
        first: offset of the video's first packet.
        last: offset of the video's last packet.
        packets: how many the demuxer gave.
        every: visit all parts; else, where possible, those up to the first and from the last packet on.

    Raises:
        StructureError: there are too many parts.
    """
    try:
        if name == "gif":
            # Damage in a picture's data makes the pictures after it a part of these.
            file.seek(0)
            return sum(1 for _ in GIF_PICTURE.finditer(file.read(MAX_GIF))) > packets
        if "matroska" in name:
            visit_elements(file, size, first, last, every=every)
        elif name in _PARTS:
            begin, parts = _PARTS[name]
            whole = every or name in VISITED_WHOLE
            head = CHUNK_HEAD if name == "avi" else 0
            spans = [(begin(file), size)] if whole else [(begin(file), first - head), (last - head, size)]
            for start, stop in spans:
                end = _visit(parts(file, start, size), file, start, stop)
                if end is not None and (end <= last or _goes_on(name, file, end, size)):
                    return True
    except GapError:
        return True
    return False


def _visit(parts: Iterator[int], file: FileIO, start: int, stop: int) -> int | None:
    """Visit parts: the offset after the last one that makes sense if other bytes come after it, else None."""
    end = start
    if start >= stop:
        return None
    try:
        for number, end in enumerate(parts):
            if end >= stop:
                break
            if number == MAX_PARTS:
                raise StructureError(TOO_MANY)
        if end > stop + MISSING_AT_END:
            raise GapError
    except GapError:
        if end > stop:
            raise
        # Zeros up to the end of the file: a recorder reserved more than it needed.
        return end if holds(file, end, b"") else None
    return None


def _goes_on(name: str, file: FileIO, at: int, size: int) -> bool:
    """Whether further parts are among the bytes after a part; else these are of something else."""
    if name == "flv":
        return _last_tag(file, size) >= at
    return holds(file, at, {"mpeg": START_CODE, "mxf": MXF_KEY}.get(name, b""))


def _tags(file: FileIO, at: int, size: int) -> Iterator[int]:
    """FLV: the end of each tag."""
    total = 0 if at <= FLV_HEAD else None  # of all tags so far
    while at + 11 <= size:
        file.seek(at)
        head = file.read(11)
        length = int.from_bytes(head[1:4], "big")
        file.seek(at + 11 + length)
        # The length once more. Some programs leave out the head, a part of it or the last length, or add up.
        again = file.read(4)
        said = int.from_bytes(again, "big")
        if total is None:
            total = said if length + 11 < said <= at + 11 + length else length + 11
        else:
            total += length + 11
        known = (length + 11, length + 10, length, total)
        if head[0] & 0x1F not in FLV_TAGS or (len(again) == 4 and said not in known):
            raise GapError
        at += 11 + length + 4
        yield at


def _last_tag(file: FileIO, size: int) -> int:
    """Offset of the last tag; negative if other bytes come after it."""
    file.seek(max(0, size - 4))
    length = int.from_bytes(file.read(4), "big")
    return size - 4 - length if length >= 11 else -1


def _chunks(file: FileIO, at: int, size: int) -> Iterator[int]:
    """AVI: the end of each chunk, those of lists one by one."""
    file.seek(4)
    claimed = 8 + int.from_bytes(file.read(4), "little")
    claimed = size if claimed - 8 in UNKNOWN_LENGTHS or claimed <= at else claimed
    while at + CHUNK_HEAD <= size:
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if at >= claimed and head[:4] != b"RIFF":
            return  # bytes after the last chunk are no part of the video
        if not CHUNK_NAME.fullmatch(head[:4]):
            raise GapError
        if head[:4] == b"RIFF":
            claimed = size if length in UNKNOWN_LENGTHS else at + 8 + length
        inside = head[:4] == b"RIFF" or (head[:4] == b"LIST" and head[8:] in (b"movi", b"rec "))
        end = at + 12 if inside else at + 8 + length
        if end % 2:
            file.seek(end)
            end += not COMMON_CHUNK.fullmatch(file.read(4))  # some programs write no padding, or no zero
        at = end
        yield at


def avi_pictures(file: FileIO, size: int, first: int) -> int:
    """How many chunks with bytes an AVI file has of the stream of the packet at offset `first`.

    Raises:
        GapError: a chunk does not begin where the one before it ends.
    """
    file.seek(first - CHUNK_HEAD)
    stream, count = file.read(2), 0
    for at in _chunks(file, 0, size):
        file.seek(at)
        head = file.read(CHUNK_HEAD)
        count += head[:2] == stream and head[2:4] != PALETTE and any(head[4:])
    return count


def _pages(file: FileIO, at: int, size: int) -> Iterator[int]:
    """Ogg: the end of each page, whose number and checksum are right (RFC 3533)."""
    numbers: dict[bytes, int] = {}
    opened: set[bytes] = set()
    while at < size:
        file.seek(at)
        head = file.read(27)
        table = file.read(head[26]) if len(head) == 27 else b""
        body = file.read(sum(table))
        serial, number = head[14:18], int.from_bytes(head[18:22], "little")
        if head[:4] != OGG_PAGE and at and not opened and not holds(file, at, OGG_PAGE):
            return  # bytes after the last page are no part of the video
        flags = head[5] if head[:4] == OGG_PAGE and len(head) == 27 else 0
        if head[:4] != OGG_PAGE or (not flags & BEGINS and numbers.get(serial, number - 1) != number - 1):
            raise GapError
        # The checksum has its bits in the opposite order of zlib's.
        mirrored = (head[:22] + bytes(4) + head[26:] + table + body).translate(MIRRORED)
        if (zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "big").translate(MIRRORED) != head[
            22:26
        ]:
            raise GapError
        numbers[serial] = number
        if head[6:14] == bytes(8) or flags & ENDS:
            del numbers[serial]  # who listens to a live stream gets its headers, and then its current page
        (opened.discard if flags & ENDS else opened.add)(serial)
        if len(opened) > MAX_STREAMS:
            raise GapError
        at += len(head) + len(table) + len(body)
        yield at


def _keys(file: FileIO, at: int, size: int) -> Iterator[int]:
    """MXF: the end of each key with its value (SMPTE 377-1)."""
    while at < size:
        file.seek(at)
        head = file.read(25)
        if head[:4] != MXF_KEY or len(head) < 17:
            raise GapError
        width = head[16] & 0x7F if head[16] & 0x80 else 0
        if width > 8:
            raise GapError
        length = int.from_bytes(head[17 : 17 + width], "big") if width else head[16]
        at += 17 + width + length
        yield at


def _packs(file: FileIO, at: int, size: int) -> Iterator[int]:
    """MPEG program stream: the end of each packet (ISO/IEC 13818-1 section 2.5, ISO/IEC 11172-1)."""
    while at < size:
        file.seek(at)
        head = file.read(14)
        kind = head[3] if len(head) >= 6 else 0xB9
        if head[:2] == bytes(2) and head[:3] != START_CODE:
            at = _after_zeros(file, at)
            continue
        if head[:3] != START_CODE or kind < 0xB9:
            raise GapError
        if kind >= 0xE0 and head[4:6] == bytes(2):
            return  # this packet does not say how long it is
        if kind == 0xBA:
            at += 14 + (head[-1] & 7) if head[4] & 0xC0 == 0x40 else 12
        else:
            at += 4 if kind == 0xB9 else 6 + int.from_bytes(head[4:6], "big")
        yield at


def _after_zeros(file: FileIO, at: int) -> int:
    """The next start code, more zeros, or the end of the file, if nothing but zeros is before that."""
    file.seek(at)
    data = file.read(ZEROS)
    zeros = len(data) - len(data.lstrip(b"\0"))
    if zeros < len(data) and data[zeros] != 1:
        raise GapError
    return at + zeros if zeros == len(data) < ZEROS else at + zeros - 2


def _frames(file: FileIO, at: int, size: int) -> Iterator[int]:
    """IVF: the end of each frame."""
    while at < size:
        file.seek(at)
        head = file.read(12)
        at += 12 + int.from_bytes(head[:4], "little")
        if at > size:
            raise GapError
        yield at


def _first_tag(file: FileIO) -> int:
    file.seek(0)
    head = file.read(9)
    return int.from_bytes(head[5:], "big") + 4 if head[:3] == FLV_MAGIC else NEVER


def _first_pack(file: FileIO) -> int:
    """A recording may begin in the middle of a packet; sectors of a disc have bytes of their own."""
    file.seek(0)
    data = file.read(MAX_BEFORE)
    found = FIRST_PACK.search(data)
    return NEVER if found is None or data[:4] == b"RIFF" else found.start()


def _first_key(file: FileIO) -> int:
    file.seek(0)
    return max(0, file.read(MXF_RUN_IN).find(MXF_KEY))


_Begin = Callable[[FileIO], int]
_PARTS: Final[dict[str, tuple[_Begin, Callable[[FileIO, int, int], Iterator[int]]]]] = {
    "flv": (_first_tag, _tags),
    "avi": (lambda _: 0, _chunks),
    "ogg": (lambda _: 0, _pages),
    "mxf": (_first_key, _keys),
    "mpeg": (_first_pack, _packs),
    "ivf": (lambda _: 32, _frames),
}
# Their packets are no parts, or have no times of their own, so that a gap in the file is no gap in time.
VISITED_WHOLE: Final = frozenset({"ogg", "mpeg", "mxf"})

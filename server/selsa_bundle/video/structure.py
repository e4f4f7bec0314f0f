"""Whether the parts of a container follow one another without a gap.

Where a part makes no sense, FFmpeg's demuxers search for the next one that does, and do not report the frames
between. So the parts are visited here: their heads are read, their contents are not.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from typing import Final

from selsa_bundle.video.elements import CLUSTER, EBML, INFO, SEGMENT, ebml_head

TRACKS: Final = 0x1654AE6B
TRACK_ENTRY: Final = 0xAE
TRACK_NUMBER: Final = 0xD7
GROUP: Final = 0xA0
BLOCKS: Final = frozenset({0xA1, 0xA3, 0xAF})
PARENTS: Final = frozenset({SEGMENT, TRACKS, TRACK_ENTRY, CLUSTER, GROUP})
PADDING: Final = frozenset({0xEC, 0xBF})  # Void, CRC-32
# RFC 9559: all elements that a segment, a cluster or a group of blocks may have, withdrawn ones as well.
CHILDREN: Final = {
    SEGMENT: PADDING | {0x114D9B74, INFO, TRACKS, CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367},
    CLUSTER: PADDING | {0xE7, 0x5854, 0xA7, 0xAB, GROUP, 0xA3, 0xAF},
    GROUP: PADDING | {0xA1, 0xA2, 0x75A1, 0x9B, 0xFA, 0xFB, 0xFD, 0xA4, 0x75A2, 0x8E, 0xC8},
}
ELEMENT_BYTES: Final = 24  # of an element that are looked at: head, and track number of a block
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
# Bytes that come first and are no part of the container, and bytes of zeros between its parts.
MAX_BEFORE: Final = 1 << 20
OGG_PAGE: Final = b"OggS"
BEGINS, ENDS = 2, 4  # flags of a page
PIECE: Final = 1 << 20
# The last part may lack this many bytes: the length after a tag of FLV, the padding of a chunk of AVI.
MISSING_AT_END: Final = 4
NUMBERS: Final = frozenset({0xE7, 0xA7, 0xAB, 0x9B, 0xFA, 0xFB, 0x75A2})
LACING: Final = 0x06


class GapError(Exception):
    """A part does not begin where the one before it ends, or contains something else than it may."""


def has_gap(name: str, file: FileIO, size: int, first: int, last: int, *, packets: int, every: bool) -> bool:
    """Whether a file has a gap in which frames may be lost; False for a format that is not known here.

    Args:
        name: FFmpeg's name of the format.
        size: bytes of the file.
        first: offset of the video's first packet.
        last: offset of the video's last packet.
        packets: how many the demuxer gave.
        every: visit all parts; else, where possible, those up to the first and from the last packet on.
    """
    try:
        if name == "gif":
            # Damage in a picture's data makes the pictures after it a part of these.
            file.seek(0)
            return len(GIF_PICTURE.findall(file.read(MAX_GIF))) > packets
        if "matroska" in name:
            _visit_elements(file, size, first, last, every=every)
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
        for end in parts:
            if end >= stop:
                break
        if end > stop + MISSING_AT_END:
            raise GapError
    except GapError:
        if end > stop:
            raise
        # Zeros up to the end of the file: a recorder reserved more than it needed.
        return end if _has(file, end, b"") else None
    return None


def _goes_on(name: str, file: FileIO, at: int, size: int) -> bool:
    """Whether further parts are among the bytes after a part; else these are of something else."""
    if name == "flv":
        return _last_tag(file, size) >= at
    return _has(file, at, {"mpeg": START_CODE, "mxf": MXF_KEY}.get(name, b""))


def _has(file: FileIO, at: int, mark: bytes) -> bool:
    """Whether a file has a mark at or after an offset; of an empty mark, anything but zeros."""
    file.seek(at)
    before = b""
    while piece := file.read(PIECE):
        if mark in before + piece if mark else piece.strip(b"\0"):
            return True
        before = piece[-len(mark) :]
    return False


def _visit_elements(file: FileIO, size: int, first: int, last: int, *, every: bool) -> None:  # noqa: C901 - one walk
    """Matroska and WebM."""
    file.seek(first)
    video, _ = _block(file.read(ELEMENT_BYTES))
    parents: list[tuple[int, int | None]] = []  # identifier and end
    tracks: set[int] = set()
    blocks, at = 0, 0  # blocks of the current group
    while at < size:
        while parents and (end := parents[-1][1]) is not None and at >= end:
            if at > end or (parents.pop()[0] == GROUP and not blocks):
                raise GapError
        parent, end = parents[-1] if parents else (0, None)
        file.seek(at)
        data = file.read(ELEMENT_BYTES)
        number, length, width = ebml_head(data) or (0, None, 0)
        stop = None if length is None else at + width + length
        # A cluster or segment that does not say how long it is ends here.
        if parent == CLUSTER and end is None and number in CHILDREN[SEGMENT] - PADDING | {EBML}:
            parents.pop()
            continue
        if parent == SEGMENT and end is None and number == EBML:
            parents, tracks = [], set()  # another recording was appended
            continue
        if number not in CHILDREN.get(parent, {number} if number else ()):
            if parent == SEGMENT and _is_private(file, number, at + width, stop, end or size):
                at = stop or size
                continue
            # Bytes after the segment are no part of the video.
            outside = not parents or (parent == SEGMENT and end is None)
            if at > last and not _has(file, at, CLUSTER.to_bytes(4, "big") if outside else b""):
                return
            raise GapError
        if end is not None and (stop is None or stop > end):
            raise GapError
        if number in NUMBERS and (length is None or length > 8):
            raise GapError
        if number in BLOCKS:
            blocks += 1
            track, laced = _block(data[width:])
            if (tracks and track not in tracks) or (laced and track == video):
                raise GapError
        elif number == TRACK_NUMBER:
            tracks.add(int.from_bytes(data[width : width + (length or 0)], "big"))
        elif number == GROUP:
            blocks = 0
        skip = number == CLUSTER and stop is not None and first < at and stop < last and not every
        if number in PARENTS and not skip:
            parents.append((number, stop))
            at += width
        elif stop is None:
            raise GapError
        else:
            at = stop


def _is_private(file: FileIO, number: int, begin: int, stop: int | None, end: int) -> bool:
    """Whether an element of a segment is one that RFC 9559 does not know, and no cluster that is damaged."""
    if not number or stop is None or stop > end:
        return False
    file.seek(begin)
    child = ebml_head(file.read(ELEMENT_BYTES))
    file.seek(stop)
    after = ebml_head(file.read(ELEMENT_BYTES))
    known = stop == end or (after is not None and after[0] in CHILDREN[SEGMENT])
    return known and (child is None or child[0] not in CHILDREN[CLUSTER])


def _block(data: bytes) -> tuple[int, bool]:
    """Track of the block whose contents begin so, and whether it has several frames; -1 for no track.

    No program puts several frames of a video in a block.
    """
    width = 9 - data[0].bit_length() if data else 9
    if width > 4 or len(data) < width + 3:
        return -1, False
    return int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1), bool(data[width + 2] & LACING)


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
        if head[:4] != OGG_PAGE and at and not opened and not _has(file, at, OGG_PAGE):
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
        if head[6:14] == bytes(8):
            del numbers[serial]  # who listens to a live stream gets its headers, and then its current page
        opened = opened - {serial} if flags & ENDS else opened | {serial}
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
    """The next start code, or the end of the file, if nothing but zeros is before it."""
    file.seek(at)
    data = file.read(MAX_BEFORE)
    zeros = len(data) - len(data.lstrip(b"\0"))
    if zeros < len(data) and data[zeros] != 1:
        raise GapError
    return at + zeros if zeros == len(data) else at + zeros - 2


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

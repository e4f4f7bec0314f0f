"""Whether the parts of a container follow one another without a gap.

Where a part makes no sense, FFmpeg's demuxers search for the next one that does, and do not report the frames
between. So the parts are visited here: their heads are read, their contents are not.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from typing import Final

from selsa_bundle.video.elements import CLUSTER, INFO, SEGMENT, ebml_head

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
FLV_TAGS: Final = frozenset({8, 9, 18})
CHUNK_NAME: Final = re.compile(rb"[0-9A-Za-z]{4}")
CHUNK_HEAD: Final = 8
MXF_KEY: Final = b"\x06\x0e\x2b\x34"
MXF_RUN_IN: Final = 1 << 16
GIF_PICTURE: Final = re.compile(rb"\x21\xf9\x04.{4}\0\x2c", re.DOTALL)  # control extension, descriptor
MAX_GIF: Final = 64 << 20  # bytes that are visited
MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
START_CODE: Final = b"\0\0\1"
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
                _visit(parts(file, start, size), file, start, stop)
    except GapError:
        return True
    return False


def _visit(parts: Iterator[int], file: FileIO, start: int, stop: int) -> None:
    end = start
    if start >= stop:
        return
    try:
        for end in parts:
            if end >= stop:
                break
        if end > stop + MISSING_AT_END:
            raise GapError
    except GapError:
        # Zeros up to the end of the file: a recorder reserved more than it needed.
        file.seek(end)
        while piece := file.read(PIECE):
            if piece.strip(b"\0"):
                raise
        if end > stop:
            raise


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
        if parent == CLUSTER and end is None and number in CHILDREN[SEGMENT] - PADDING:
            parents.pop()  # a cluster that does not say how long it is ends here
            continue
        if number not in CHILDREN.get(parent, {number} if number else ()):
            if at > last and not parents:
                return  # bytes after the segment are no part of the video
            raise GapError
        stop = None if length is None else at + width + length
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
    while at + 11 <= size:
        file.seek(at)
        head = file.read(11)
        length = int.from_bytes(head[1:4], "big")
        file.seek(at + 11 + length)
        # The length once more. Some programs leave out the head, a part of it or the last length.
        again = file.read(4)
        if head[0] & 0x1F not in FLV_TAGS or head[8:11] != bytes(3):
            raise GapError
        if len(again) == 4 and int.from_bytes(again, "big") not in (length + 11, length + 10, length):
            raise GapError
        at += 11 + length + 4
        yield at


def _chunks(file: FileIO, at: int, size: int) -> Iterator[int]:
    """AVI: the end of each chunk, those of lists one by one."""
    claimed = 0
    while at + CHUNK_HEAD <= size:
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if not CHUNK_NAME.fullmatch(head[:4]):
            if at >= claimed:
                return  # bytes after the last chunk are no part of the video
            raise GapError
        claimed = at + length if head[:4] == b"RIFF" else claimed
        inside = head[:4] == b"RIFF" or (head[:4] == b"LIST" and head[8:] in (b"movi", b"rec "))
        end = at + 12 if inside else at + 8 + length
        if end % 2:
            file.seek(end)
            end += file.read(1) in (b"\0", b"")  # some programs write no padding
        at = end
        yield at


def _pages(file: FileIO, at: int, size: int) -> Iterator[int]:
    """Ogg: the end of each page, whose number and checksum are right (RFC 3533)."""
    numbers: dict[bytes, int] = {}
    while at < size:
        file.seek(at)
        head = file.read(27)
        table = file.read(head[26]) if len(head) == 27 else b""
        body = file.read(sum(table))
        serial, number = head[14:18], int.from_bytes(head[18:22], "little")
        begins = bool(head[5:6] and head[5] & 2)
        if head[:4] != b"OggS" or (not begins and numbers.get(serial, number - 1) != number - 1):
            raise GapError
        # The checksum has its bits in the opposite order of zlib's.
        mirrored = (head[:22] + bytes(4) + head[26:] + table + body).translate(MIRRORED)
        if (zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "big").translate(MIRRORED) != head[
            22:26
        ]:
            raise GapError
        numbers[serial] = number
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
        if head[:3] != START_CODE or kind < 0xB9:
            raise GapError
        if kind == 0xBA:
            at += 14 + (head[-1] & 7) if head[4] & 0xC0 == 0x40 else 12
        else:
            at += 4 if kind == 0xB9 else 6 + int.from_bytes(head[4:6], "big")
        yield at


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
    file.seek(5)
    return int.from_bytes(file.read(4), "big") + 4


def _first_key(file: FileIO) -> int:
    file.seek(0)
    return max(0, file.read(MXF_RUN_IN).find(MXF_KEY))


_Begin = Callable[[FileIO], int]
_PARTS: Final[dict[str, tuple[_Begin, Callable[[FileIO, int, int], Iterator[int]]]]] = {
    "flv": (_first_tag, _tags),
    "avi": (lambda _: 0, _chunks),
    "ogg": (lambda _: 0, _pages),
    "mxf": (_first_key, _keys),
    "mpeg": (lambda _: 0, _packs),
    "ivf": (lambda _: 32, _frames),
}
# Their packets are no parts, or have no times of their own, so that a gap in the file is no gap in time.
VISITED_WHOLE: Final = frozenset({"ogg", "mpeg", "mxf"})

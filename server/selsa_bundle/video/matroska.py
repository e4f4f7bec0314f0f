"""Whether the elements of a Matroska or WebM file follow one another without a gap (RFC 9559)."""

from io import FileIO
from typing import Final

from selsa_bundle.video.elements import (
    CLUSTER,
    EBML,
    INFO,
    MAX_PARTS,
    MAX_STREAMS,
    SEGMENT,
    TOO_MANY,
    GapError,
    StructureError,
    ebml_head,
    holds,
)

TRACKS: Final = 0x1654AE6B
TRACK_ENTRY: Final = 0xAE
TRACK_NUMBER: Final = 0xD7
GROUP: Final = 0xA0
BLOCKS: Final = frozenset({0xA1, 0xA3, 0xAF})
PARENTS: Final = frozenset({SEGMENT, TRACKS, TRACK_ENTRY, CLUSTER, GROUP})
PADDING: Final = frozenset({0xEC, 0xBF})  # Void, CRC-32
# All elements that a segment, a cluster or a group of blocks may have, withdrawn ones as well.
CHILDREN: Final = {
    SEGMENT: PADDING | {0x114D9B74, INFO, TRACKS, CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367},
    CLUSTER: PADDING | {0xE7, 0x5854, 0xA7, 0xAB, GROUP, 0xA3, 0xAF},
    GROUP: PADDING | {0xA1, 0xA2, 0x75A1, 0x9B, 0xFA, 0xFB, 0xFD, 0xA4, 0x75A2, 0x8E, 0xC8},
}
ELEMENT_BYTES: Final = 24  # of an element that are looked at: head, and track number of a block
NUMBERS: Final = frozenset({0xE7, 0xA7, 0xAB, 0x9B, 0xFA, 0xFB, 0x75A2})
LACING: Final = 0x06
DEPTH: Final = 4  # of the elements that are visited: segment, tracks, track; segment, cluster, group


def visit_elements(file: FileIO, size: int, first: int, last: int, *, every: bool) -> None:  # noqa: C901 - one walk
    """Visit the elements of a Matroska or WebM file.

    Args:
        size: bytes of the file.
        first: offset of the video's first packet.
        last: offset of the video's last packet.
        every: also visit what is in clusters between the first and the last packet.

    Raises:
        GapError: an element does not begin where the one before it ends, or is where it may not be.
        StructureError: there are too many elements.
    """
    file.seek(first)
    video, _ = _block(file.read(ELEMENT_BYTES))
    parents: list[tuple[int, int | None]] = []  # identifier and end
    tracks: set[int] = set()
    blocks, at = 0, 0  # blocks of the current group
    for _ in range(MAX_PARTS):
        if at >= size:
            return
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
            if at > last and not holds(file, at, CLUSTER.to_bytes(4, "big") if outside else b""):
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
            if len(tracks) > MAX_STREAMS:
                raise GapError
        elif number == GROUP:
            blocks = 0
        skip = number == CLUSTER and stop is not None and first < at and stop < last and not every
        if number in PARENTS and not skip:
            if len(parents) == DEPTH:
                raise GapError
            parents.append((number, stop))
            at += width
        elif stop is None:
            raise GapError
        else:
            at = stop
    raise StructureError(TOO_MANY)


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

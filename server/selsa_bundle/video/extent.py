"""Whether a file was cut off, as its container says. A claim alone proves nothing; `index` weighs them."""

import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from selsa_bundle.video.elements import (
    CLUSTER,
    EBML,
    EBML_HEAD,
    EBML_MAGIC,
    INFO,
    MP4_BOXES,
    SEGMENT,
    TIMESTAMP_SCALE,
    StructureError,
    ebml_head,
    elements,
)
from selsa_bundle.video.mp4 import Mp4Claims, mp4_claims

MASTERS: Final = frozenset({SEGMENT, CLUSTER})
# A cluster that is still open when a live recording ends is shorter than this.
LAST_CLUSTER: Final = 64 << 20
PIECE: Final = 1 << 20
UNKNOWN_LENGTH: Final = 0xFFFFFFFF  # of an AVI file that its writer could not go back in


def is_mp4(path: Path) -> bool:
    """Whether the file begins as an MP4 or QuickTime file does."""
    with path.open("rb") as file:
        return file.read(8)[4:] in MP4_BOXES


def is_matroska(path: Path) -> bool:
    """Whether the file begins as a Matroska or WebM file does."""
    with path.open("rb") as file:
        return file.read(4) == EBML_MAGIC


def claims_of(path: Path) -> Mp4Claims:
    """What an MP4 file claims; nothing for any other file.

    Raises:
        StructureError: too many boxes, or a time scale of 0.
    """
    if not is_mp4(path):
        return Mp4Claims()
    with path.open("rb", buffering=0) as file:  # a few bytes here and there
        return mp4_claims(file, os.fstat(file.fileno()).st_size)


def claims_more(path: Path) -> bool:
    """Whether an MP4, Matroska, WebM or AVI file claims to be longer than it is.

    Raises:
        StructureError: its structure cannot be walked.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if head[4:8] in MP4_BOXES:
            return mp4_claims(file, size).cut
        if head[:4] == EBML_MAGIC:
            extent = matroska_extent(file, size)
            return extent.cut or extent.claims_more
        length = int.from_bytes(head[4:8], "little")
        return head[:4] == b"RIFF" and head[8:] == b"AVI " and size - 8 < length < UNKNOWN_LENGTH


@dataclass(frozen=True, slots=True)
class MatroskaExtent:
    """How a Matroska or WebM file ends.

    Attributes:
        cut: it ends inside a cluster.
        claims_more: its segment claims to be longer than the file.
    """

    cut: bool
    claims_more: bool


def matroska_extent(file: BinaryIO | FileIO, size: int) -> MatroskaExtent:
    """Look at the segment and its clusters, a few bytes of each.

    Raises:
        StructureError: too many elements, or a time scale of 0.
    """
    cut = more = False
    for number, begin, end in elements(file, size, frozenset({SEGMENT, INFO})):
        if number == SEGMENT:
            more = end is not None and end > size
        elif number == TIMESTAMP_SCALE and end is not None:
            file.seek(begin)
            if not any(file.read(min(8, end - begin))):
                raise StructureError("The Matroska file has a time scale of 0; remux it.")
        elif number == CLUSTER and end is None:
            cut = _last_cluster_is_cut(file, size)
        else:
            cut = end is not None and end > size and number == CLUSTER
    return MatroskaExtent(cut, more)


def _last_cluster_is_cut(file: BinaryIO | FileIO, size: int) -> bool:
    """Of a file whose clusters do not say how long they are."""
    mark = CLUSTER.to_bytes(4, "big")
    position = size
    while position > max(0, size - LAST_CLUSTER):
        begin = max(0, position - PIECE)
        file.seek(begin)
        found = file.read(min(PIECE + len(mark), size - begin)).rfind(mark)
        if found >= 0:
            check = ClusterCheck()
            file.seek(begin + found)
            while piece := file.read(PIECE):
                check.feed(piece)
            return check.cut_off
        position = begin
    return False


class ClusterCheck:
    """Looks at a Matroska stream piece by piece: whether it ends inside a block or another element."""

    def __init__(self) -> None:
        self._head = b""
        self._skip = 0  # bytes that are left of the current element
        self._started = self._lost = False

    @property
    def cut_off(self) -> bool:
        """Whether the bytes so far end inside an element."""
        return not self._lost and (self._skip > 0 or bool(self._head))

    def feed(self, data: bytes) -> None:
        """Look at the next bytes."""
        data = self._head + data
        position = 0
        while position < len(data) and not self._lost:
            step = min(self._skip, len(data) - position)
            self._skip -= step
            position += step
            found = None if self._skip else ebml_head(data[position : position + EBML_HEAD])
            if found is None:
                # Either the rest of a head is still to come or this is no element.
                self._lost = len(data) - position >= EBML_HEAD
                break
            number, length, head = found
            position += head
            if number not in MASTERS:
                self._lost = length is None or not (self._started or number == EBML)
                self._skip = length or 0
            self._started = True
        self._head = data[position:]

"""What an MP4 or QuickTime file with its index (moov) in front claims: ISO/IEC 14496-12, section 8."""

from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np

from selsa_server.video.declared.track import DeclaredTrack

# Boxes before the index or, in it, beside a track's tables; more are no index that anyone wrote.
MAX_BOXES: Final = 1000


def mp4_tracks(file: BinaryIO, size: int) -> tuple[DeclaredTrack, ...] | None:
    """The video tracks of a file of which `size` bytes are there; None when its index may be on its way."""
    position = 0
    for _ in range(MAX_BOXES):
        file.seek(position)
        head = file.read(16)
        length, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, begin = int.from_bytes(head[8:], "big"), 16
        if len(head) < 16:
            return None
        # Behind media data, or fragments, an index comes too late to spare anyone the upload.
        if kind in (b"mdat", b"moof") or length < begin:
            return ()
        if position + length > size:
            return None
        if kind == b"moov":
            file.seek(position + begin)
            return _movie(memoryview(file.read(length - begin)))
        position += length
    return ()


def _movie(movie: memoryview) -> tuple[DeclaredTrack, ...]:
    timescale = _timescale(_inside(movie, b"mvhd"))
    tracks = (_track(box, timescale) for kind, box in _boxes(movie) if kind == b"trak")
    return tuple(track for track in tracks if track is not None)


def _track(track: memoryview, movie_timescale: int) -> DeclaredTrack | None:
    """A track; None if it is none of pictures."""
    media = _inside(track, b"mdia")
    if bytes(_inside(media, b"hdlr")[8:12]) != b"vide":
        return None
    tables = _inside(_inside(media, b"minf"), b"stbl")
    entry = _inside(tables, b"stsd")[8:]
    listed, samples = _samples(_inside(tables, b"stsz"))
    seconds = 0.0
    if timescale := _timescale(_inside(media, b"mdhd")):
        seconds = _ticks(_inside(tables, b"stts")) / timescale
    shown = _edited(_inside(_inside(track, b"edts"), b"elst"), movie_timescale)
    # An edit list that shows a part only leaves the tables as long as they are. Samples that are counted and
    # not listed cost FFmpeg their memory whatever is shown of them.
    if seconds and shown is not None and shown < seconds:
        samples, seconds = (round(samples * shown / seconds) if listed else samples), shown
    return DeclaredTrack(
        width=_number(entry, 32, 2), height=_number(entry, 34, 2), frames=samples, seconds=seconds
    )


def _samples(table: memoryview) -> tuple[bool, int]:
    """Whether the samples' sizes are listed, as they are unless all are the same; how many there are."""
    constant, count = _number(table, 4, 4), _number(table, 8, 4)
    # A count without its list is damage.
    return not constant, count if constant or 12 + 4 * count <= len(table) else 0


def _ticks(table: memoryview) -> float:
    runs = np.frombuffer(table[8 : 8 + (len(table) - 8) // 8 * 8] if len(table) > 8 else b"", ">u4")
    pairs = runs.reshape(-1, 2)[: _number(table, 4, 4)].astype(np.float64)
    return float(pairs.prod(axis=1).sum())


def _edited(edits: memoryview, timescale: int) -> float | None:
    """Seconds that an edit list shows; None without one, or one that does not say."""
    wide = 8 if len(edits) and edits[0] == 1 else 4
    step = 2 * wide + 4
    places = range(8, len(edits) - step + 1, step)[: min(MAX_BOXES, _number(edits, 4, 4))]
    ticks = sum(_number(edits, at, wide) for at in places)
    return ticks / timescale if ticks and timescale else None


def _timescale(header: memoryview) -> int:
    """Ticks per second of a movie or media header."""
    return _number(header, 20 if len(header) and header[0] == 1 else 12, 4)


def _inside(parent: memoryview, kind: bytes) -> memoryview:
    """The contents of the first box of a kind; nothing if there is none."""
    return next((box for found, box in _boxes(parent) if found == kind), memoryview(b""))


def _boxes(parent: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position = 0
    for _ in range(MAX_BOXES):
        length, kind, begin = _number(parent, position, 4), bytes(parent[position + 4 : position + 8]), 8
        if length == 1:
            length, begin = _number(parent, position + 8, 8), 16
        if length < begin or position + length > len(parent):
            return
        yield kind, parent[position + begin : position + length]
        position += length


def _number(data: memoryview, at: int, width: int) -> int:
    """An unsigned number; what is not there counts as 0."""
    return int.from_bytes(data[at : at + width], "big")

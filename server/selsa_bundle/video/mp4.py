"""The claims of an MP4 or QuickTime file in its boxes, checked before FFmpeg opens it.

A table of samples of one constant size needs 20 bytes for any count, and FFmpeg reserves memory for each
sample on
opening: a file of 3 kB can ask for gigabytes. FFmpeg silently reads a time scale of 0 as 1. It also sorts
fragments by their times, so it loses frames where a fragmented file's clock restarts.
"""

import io
import os
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from io import FileIO
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.video.elements import MAX_STREAMS, MP4_BOXES, Box, StructureError, boxes

PARENTS: Final = frozenset({b"moov", b"mvex", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
PER_SAMPLE_FIELDS: Final = 0xF00  # of a track run: any of duration, size, flags, time offset
LOOKUP_TABLES: Final = frozenset({b"sidx", b"mfra"})  # of fragments by their times
MAX_FRAGMENT_HEAD: Final = 64 << 20
BOX_NAME: Final = re.compile(rb"[\x20-\x7e\xa9]{4}")
MAX_TABLE: Final = 4 << 20  # numbers of a sample table that are looked at


@dataclass(slots=True)
class Mp4Claims:
    """What the boxes say.

    Attributes:
        unlisted: samples of all tracks that are counted but not listed. PCM sound is left out: FFmpeg groups
            it by chunks, which are listed.
        cut: whether an index (moov) or the head of a fragment (moof) goes beyond the end of the file.
        restarts: how often the clock of a track of fragments restarts.
        gap: whether boxes are left out because their heads make no sense.
    """

    unlisted: int = 0
    cut: bool = False
    restarts: int = 0
    gap: bool = False


def mp4_claims(file: BinaryIO | FileIO, size: int) -> Mp4Claims:
    """Walk the first `size` bytes of a file, a few bytes per box.

    Raises:
        StructureError: too many boxes, or a time scale of 0.
    """
    claims, gaps = Mp4Claims(), _Gaps(file, size)
    constant, one_tick_each, track = 0, False, 0
    clocks: dict[int, tuple[int, int]] = {}  # of each track: start of its last fragment, restarts
    for box in boxes(file, size, PARENTS):
        kind = box.kind
        gaps.look(box)
        if kind == b"trak":
            claims.unlisted += 0 if one_tick_each else constant
            constant, one_tick_each = 0, False
        elif kind in (b"moov", b"moof"):
            claims.cut = claims.cut or box.end > size
        elif kind in (b"mvhd", b"mdhd"):
            _check_time_scale(file, box)
        elif kind == b"stsz":
            _, first, second, _ = _words(file, box)
            constant = second if first else 0
        elif kind == b"stts":
            _, first, _, third = _words(file, box)
            one_tick_each = first == 1 and third == 1
        elif kind == b"trun":
            flags, first, _, _ = _words(file, box)
            claims.unlisted += 0 if flags & PER_SAMPLE_FIELDS else first
            gaps.look_at_run(box, flags, first)
        elif kind == b"tfhd":
            track = _words(file, box)[1]
        elif kind == b"tfdt":
            version, first, second, _ = _words(file, box)
            start = first << 32 | second if version >> 24 else first
            before, restarts = clocks.get(track, (-1, 0))
            clocks[track] = start, restarts + (start <= before)
            claims.restarts = max(claims.restarts, clocks[track][1])
    claims.unlisted += 0 if one_tick_each else constant
    claims.gap = gaps.ended()
    return claims


class _Gaps:
    """Finds boxes that FFmpeg leaves out, with the frames in them, because their heads make no sense."""

    def __init__(self, file: BinaryIO | FileIO, size: int) -> None:
        self._file, self._size = file, size
        self._found = self._fragmented = False
        self._ends: list[int] = []  # of the boxes around the current one
        self._before: Box | None = None  # the last box at the top
        self._begin = self._reached = 0  # of the last box
        self._counts: dict[bytes, int] = {}  # samples in tables of the current track

    def look(self, box: Box) -> None:
        """Look at the next box."""
        kind, begin, end = box
        while self._ends and begin > self._ends[-1]:
            self._ends.pop()
        if self._ends:
            self._found = self._found or end > self._ends[-1] or not BOX_NAME.fullmatch(kind)
        else:
            # The head of a fragment is no longer one, and its data are left.
            if self._fragmented and kind == b"mdat":
                self._found = self._found or self._was_head(self._before)
            self._before = box
        self._fragmented = self._fragmented or kind == b"moof"
        self._begin, self._reached = begin, begin if kind in PARENTS else end
        if kind in PARENTS:
            self._ends.append(end)
        if kind == b"trak":
            self._counts = {}
        elif kind in (b"stsz", b"ctts"):
            self._look_at_table(box)

    def _was_head(self, box: Box | None) -> bool:
        """Whether a box of a kind that is not known contains what the head of a fragment does."""
        if box is None or box.kind in MP4_BOXES:
            return False
        self._file.seek(box.begin)
        return b"traf" in self._file.read(min(box.end - box.begin, MAX_FRAGMENT_HEAD))

    def _look_at_table(self, box: Box) -> None:
        """Samples cannot be larger than the file, nor can there be other time offsets than of samples."""
        _, first, second, _ = _words(self._file, box)
        if box.kind == b"stsz":
            self._counts[b"stsz"] = second
            sizes = self._numbers(box, 12, 0 if first else second)
            self._found = self._found or int(sizes.sum(dtype=np.int64)) > self._size
        else:
            self._counts[b"ctts"] = int(self._numbers(box, 8, 2 * first)[::2].sum(dtype=np.int64))
        # Some files have offsets for fewer samples, or for one more.
        samples, offsets = self._counts.get(b"stsz"), self._counts.get(b"ctts")
        self._found = self._found or (samples is not None and offsets is not None and offsets > samples + 1)

    def _numbers(self, box: Box, at: int, count: int) -> npt.NDArray[np.uint32]:
        """The first numbers of a table that is `at` bytes into a box, as many as there are, within reason."""
        self._file.seek(box.begin + at)
        room = min(box.end, self._size) - box.begin - at
        data = self._file.read(4 * max(0, min(count, MAX_TABLE, room // 4)))
        return np.frombuffer(data[: len(data) // 4 * 4], ">u4")

    def look_at_run(self, box: Box, flags: int, count: int) -> None:
        """Look at a track run, which has its samples and nothing else."""
        fields = (flags & PER_SAMPLE_FIELDS).bit_count()
        length = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4) + 4 * count * fields
        self._found = self._found or box.end - box.begin != length

    def ended(self) -> bool:
        """Whether there is a gap, after the last box."""
        if not self._found and self._fragmented and self._reached != self._size:
            self._file.seek(min(self._begin, self._reached))
            rest = self._file.read(MAX_FRAGMENT_HEAD)
            self._found = b"moof" in rest or b"mdat" in rest
        return self._found


def _check_time_scale(file: BinaryIO | FileIO, box: Box) -> None:
    file.seek(box.begin)
    body = file.read(24)
    at = 20 if body[:1] == b"\1" else 12
    if len(body) >= at + 4 and body[at : at + 4] == bytes(4):
        raise StructureError(
            "The MP4 file has a time scale of 0 ticks per second, so its frames have no times; remux it.",
        )


def _words(file: BinaryIO | FileIO, box: Box) -> tuple[int, int, int, int]:
    file.seek(box.begin)
    body = file.read(16)
    return (
        int.from_bytes(body[:4], "big"),
        int.from_bytes(body[4:8], "big"),
        int.from_bytes(body[8:12], "big"),
        int.from_bytes(body[12:], "big"),
    )


@dataclass(slots=True)
class _TrackClock:
    """One track: start of its last fragment as written, end of it and offset as continued; in ticks."""

    start: int = -1
    end: int = 0
    offset: int = 0
    restarts: int = 0


@dataclass(slots=True)
class FragmentClock:
    """Continues the clocks of fragments where they restart; takes every moov and moof in order."""

    _default: dict[int, int] = field(default_factory=dict)  # duration of a track's samples
    _tracks: dict[int, _TrackClock] = field(default_factory=dict)

    @property
    def restarts(self) -> int:
        """How often the clock restarted."""
        return max((track.restarts for track in self._tracks.values()), default=0)

    def patches(self, box: bytes) -> list[tuple[int, bytes]]:
        """Offsets in the box and the bytes that belong there instead.

        Args:
            box: a whole moov or moof, head included.
        """
        found: list[tuple[int, bytes]] = []
        track, duration = _TrackClock(), 0
        for kind, begin, end in boxes(io.BytesIO(box), len(box), PARENTS):
            body = box[begin:end]
            flags = int.from_bytes(body[1:4], "big")
            if kind == b"trex":
                if len(self._default) < MAX_STREAMS:
                    self._default[_number(body, 4)] = _number(body, 12)
            elif kind == b"tfhd":
                number = _number(body, 4)
                if number in self._tracks or len(self._tracks) < MAX_STREAMS:
                    track = self._tracks.setdefault(number, _TrackClock())
                else:
                    track = _TrackClock()
                at = 8 + 8 * bool(flags & 1) + 4 * bool(flags & 2)
                duration = _number(body, at) if flags & 8 else self._default.get(number, 0)
            elif kind == b"tfdt":
                width = 8 if body[:1] == b"\1" else 4
                start = int.from_bytes(body[4 : 4 + width], "big")
                if start <= track.start:
                    track.offset = track.end - start
                    track.restarts += 1
                track.start, track.end = start, start + track.offset
                if track.offset and len(body) >= 4 + width and track.end < 1 << 8 * width:
                    found.append((begin + 4, track.end.to_bytes(width, "big")))
            elif kind == b"trun":
                track.end += _run_duration(body, flags, duration)
        return found


def _run_duration(body: bytes, flags: int, default: int) -> int:
    """Ticks of the samples of a track run."""
    count = _number(body, 4)
    if not flags & 0x100:
        return count * default
    begin = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
    width = sum(bool(flags & each) for each in (0x100, 0x200, 0x400, 0x800))
    words = np.frombuffer(body[begin : begin + max(0, len(body) - begin) // 4 * 4], ">u4")[: count * width]
    return int(words[::width].sum(dtype=np.int64))


def _number(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 4], "big")


class ContinuedFile:
    """A fragmented MP4 file whose clock is continued where it restarts: a few bytes are replaced."""

    def __init__(self, file: BinaryIO | FileIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        patches: list[tuple[int, bytes]] = []
        clock = FragmentClock()
        for kind, begin, end in boxes(file, self._size):
            start = begin - 8
            if kind in (b"moov", b"moof") and end - start <= MAX_FRAGMENT_HEAD:
                file.seek(start)
                patches += [(start + at, new) for at, new in clock.patches(file.read(end - start))]
            elif kind in LOOKUP_TABLES:
                patches.append((start + 4, b"free"))  # its times no longer match the fragments
        self._patches = sorted(patches)
        self._places = [place for place, _ in self._patches]
        file.seek(0)

    def read(self, size: int) -> bytes:
        """As of any file."""
        begin = self._file.tell()
        data = bytearray(self._file.read(size))
        first = max(0, bisect_right(self._places, begin) - 1)
        for place, new in self._patches[first : bisect_right(self._places, begin + len(data))]:
            low, high = max(place, begin), min(place + len(new), begin + len(data))
            if low < high:
                data[low - begin : high - begin] = new[low - place : high - place]
        return bytes(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of any file."""
        return self._file.tell()

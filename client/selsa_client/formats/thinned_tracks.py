"""Detections of a whole video as tracks of few key frames, for labelling tools.

Detections with the same `track_id` and class are a track; one without a `track_id` is a track of one frame.
A track is seen in runs of consecutive frames. Within a run, frames between two key frames are left out if a
box that moves linearly from one to the other is off by at most `MAX_ERROR` pixels in each of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Final

from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import Box, FrameRecord, VideoRecord

MAX_ERROR: Final = 0.5
# Frames from one key frame to the next at most: the search takes up to the square of that.
MAX_SPAN: Final = 256

# Index of a frame in the source, and the box there.
Place = tuple[int, Box]


@dataclass(slots=True)
class Track:
    """One object: its class, its boxes in order of their frames, and their scores."""

    class_name: str
    places: list[Place] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The mean of its scores."""
        return fmean(self.scores)

    def runs(self, step: int) -> Iterator[list[Place]]:
        """Key frames of each run of frames that are `step` apart."""
        start = 0
        for end, (place, after) in enumerate(pairwise(self.places), 1):
            if after[0] - place[0] > step:
                yield thinned(self.places[start:end])
                start = end
        yield thinned(self.places[start:])


@dataclass(slots=True)
class Tracks:
    """Takes the records of a video and gathers its tracks; memory holds all detections."""

    video: VideoRecord | None = None
    frames: list[int] = field(default_factory=list)
    times: dict[int, float] = field(default_factory=dict)
    found: dict[tuple[object, str], Track] = field(default_factory=dict)

    def add(self, record: StreamRecord) -> None:
        """Take the next record."""
        if isinstance(record, VideoRecord):
            self.video = record
        elif isinstance(record, FrameRecord):
            self.frames.append(record.index)
            if record.time is not None:
                self.times[record.index] = record.time
            for number, each in enumerate(record.detections):
                # Null without tracks, and for a detection without a track.
                identity = each.track_id
                key = (identity if identity is not None else (record.index, number), each.class_name)
                track = self.found.setdefault(key, Track(each.class_name))
                track.places.append((record.index, each.box))
                track.scores.append(each.score)

    @property
    def step(self) -> int:
        """How far apart frames with a record are."""
        return min((after - before for before, after in pairwise(self.frames)), default=1)

    @property
    def frame_count(self) -> int:
        """Frames in the source, as far as is known."""
        known = self.video.frame_count if self.video else None
        return known or (self.frames[-1] + 1 if self.frames else 1)


def thinned(places: Sequence[Place]) -> list[Place]:
    """The first and last of some places, and those between that a linear motion would miss; one at least."""
    edges = [*range(0, len(places) - 1, MAX_SPAN), len(places) - 1]
    kept = set(edges)
    open_spans = list(pairwise(edges))
    while open_spans:
        low, high = open_spans.pop()
        errors = [(_error(places[low], places[i], places[high]), i) for i in range(low + 1, high)]
        worst, middle = max(errors, default=(0.0, low))
        if worst > MAX_ERROR:
            kept.add(middle)
            open_spans += [(low, middle), (middle, high)]
    return [places[i] for i in sorted(kept)]


def _error(before: Place, place: Place, after: Place) -> float:
    """Pixels by which a corner is off when the box moves from `before` to `after`."""
    share = (place[0] - before[0]) / (after[0] - before[0])
    ways = zip(_corners(before[1]), _corners(place[1]), _corners(after[1]), strict=True)
    return max(abs(a + (b - a) * share - here) for a, here, b in ways)


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x1, box.y1, box.x2, box.y2

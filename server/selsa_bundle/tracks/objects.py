"""All objects of a video, for its summary, and the track numbers that turn out to be one object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict

import numpy as np

from selsa_bundle.tracks.appearance import Likeness, unit
from selsa_bundle.tracks.geometry import match
from selsa_bundle.tracks.track import Track

# Objects kept. Beyond that, those seen in the fewest frames are dropped first.
MOST_OBJECTS: Final = 2000
# An object seen in fewer frames is not compared with others.
LEAST_FRAMES: Final = 3


class ObjectOfVideo(TypedDict):
    """One object; indices are those of the source, times are in seconds."""

    track_id: int
    class_id: int
    first_index: int
    last_index: int
    first_time: float | None
    last_time: float | None
    frames: int
    score: float


@dataclass(slots=True)
class Gallery:
    """The confirmed tracks of a video.

    Attributes:
        tracks: those that are kept, by number.
        total: number of all tracks so far.
    """

    tracks: list[Track] = field(default_factory=list)
    total: int = 0

    def add(self, track: Track) -> None:
        """Add a track that was just confirmed."""
        self.total += 1
        self.tracks.append(track)
        if len(self.tracks) > MOST_OBJECTS:
            older = self.tracks[: MOST_OBJECTS // 2]
            self.tracks.remove(min(older, key=lambda each: (each.frames, each.id)))

    @property
    def left_out(self) -> int:
        """Number of dropped tracks."""
        return self.total - len(self.tracks)

    def objects(self, aliases: Mapping[int, int]) -> list[ObjectOfVideo]:
        """The objects by number; tracks of one object are merged."""
        parts: dict[int, list[Track]] = {}
        for track in self.tracks:
            if track.id is not None:
                parts.setdefault(aliases.get(track.id, track.id), []).append(track)
        return [_object(number, part) for number, part in sorted(parts.items())]

    def aliases(self, likeness: Likeness, least: float, *, filled: bool = False) -> dict[int, int]:
        """Track numbers of objects that have a lower number too: {number: the object's lowest number}.

        Two tracks are one object if they have one class, never overlap in time, and are more similar than
        `least` and than either is to any other track. Tracks are joined until no such pair is left.

        Args:
            likeness: of the video.
            least: similarity.
            filled: whether tracks stay on frames that were not detected on. Two tracks then overlap there
                unless a detected frame lies between them.
        """
        tracks = [each for each in self.tracks if each.looks is not None and each.frames >= LEAST_FRAMES]
        if len(tracks) < 2:
            return {}
        parts = [[track] for track in tracks]
        looks = np.array([track.looks for track in tracks], np.float32)
        first, last = (
            np.array([getattr(each, name) for each in tracks])
            for name in ("before" if filled else "first", "last")
        )
        labels = np.array([track.label for track in tracks])
        apart = (labels[:, None] == labels[None]) & (
            (last[:, None] < first[None]) | (last[None] < first[:, None])
        )
        while True:
            vectors = unit(looks)
            alike = likeness(vectors, vectors)
            pairs = match(np.where(np.triu(apart, 1), alike, np.float32(-1)), least)
            taken, joined = set[int](), list[tuple[int, int]]()
            for row, column in pairs:
                # Each part once: the joined part is compared again in the next round.
                if row not in taken and column not in taken:
                    taken.update((row, column))
                    joined.append((row, column))
            if not joined:
                return {
                    track.id: part[0].id for part in parts for track in part[1:] if track.id and part[0].id
                }
            for row, column in joined:
                parts[row] += parts[column]
            rows, columns = np.array(joined, np.int64).T
            looks[rows] += looks[columns]
            apart[rows] &= apart[columns]
            apart[:, rows] &= apart[:, columns]
            stay = np.setdiff1d(np.arange(len(parts)), columns)
            parts, looks, apart = [parts[i] for i in stay.tolist()], looks[stay], apart[np.ix_(stay, stay)]


def _object(number: int, part: list[Track]) -> ObjectOfVideo:
    votes: dict[int, float] = {}
    for track in part:
        for label, score in track.votes.items():
            votes[label] = votes.get(label, 0.0) + score
    first, last = min(part, key=lambda each: each.first), max(part, key=lambda each: each.last)
    frames = sum(track.frames for track in part)
    return ObjectOfVideo(
        track_id=number,
        class_id=min(votes, key=lambda label: (-votes[label], label)),
        first_index=first.first,
        last_index=last.last,
        first_time=first.first_time,
        last_time=last.last_time,
        frames=frames,
        score=round(sum(track.score for track in part) / frames, 4),
    )

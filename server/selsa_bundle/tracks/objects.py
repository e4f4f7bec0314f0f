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

    def aliases(self, likeness: Likeness, least: float) -> dict[int, int]:
        """Track numbers of objects that have a lower number too: {number: the object's lowest number}.

        Two tracks are one object if they have one class, never overlap in time, and are more similar than
        `least` and than either is to any other track. Tracks are joined until no such pair is left.
        """
        parts = [[track] for track in self.tracks if track.looks is not None and track.frames >= LEAST_FRAMES]
        while len(parts) > 1 and (joined := _joined(parts, likeness, least)) is not None:
            parts = joined
        return {track.id: part[0].id for part in parts for track in part[1:] if track.id and part[0].id}


def _joined(parts: list[list[Track]], likeness: Likeness, least: float) -> list[list[Track]] | None:
    """The parts with the best pairs joined; None if there is no pair."""
    looks = unit(np.stack([sum(track.looks for track in part if track.looks is not None) for part in parts]))
    labels = np.array([part[0].label for part in parts])
    alike = likeness(looks, looks)
    possible = labels[:, None] == labels[None]
    for row, one in enumerate(parts):
        for column in np.flatnonzero(possible[row] & (alike[row] > least)).tolist():
            possible[row, column] = column > row and _apart(one, parts[column])
    pairs = match(np.where(np.triu(possible, 1), alike, -1.0).astype(np.float32), least)
    if not pairs:
        return None
    merged = {column: row for row, column in pairs}
    rows = {row: column for row, column in pairs if row not in merged}
    gone = set(rows.values())
    if not rows:
        return None
    return [
        sorted([*part, *(parts[rows[i]] if i in rows else [])], key=lambda each: each.id or 0)
        for i, part in enumerate(parts)
        if i not in gone
    ]


def _apart(one: list[Track], other: list[Track]) -> bool:
    return all(a.last < b.first or b.last < a.first for a in one for b in other)


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

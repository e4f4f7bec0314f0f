"""Frames between two detected ones, answered along tracks and tubes.

What is in both detected frames moves linearly from one to the other. What is in one of them only stays where
it is, with half of its score, because nothing confirms it. If a cut lies between the two, a frame shows what
is in the nearer one only: it belongs to one scene.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from selsa_bundle.tracks.geometry import Int
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.track import Track
from selsa_bundle.tracks.tubes import NONE, TubeFrame, linked_to

# Share of its score that a detection keeps where only one of the two frames has it.
HELD: Final = np.float32(0.5)

Tracks = Sequence[Track | None]


@dataclass(frozen=True, slots=True, eq=False)
class FollowedFrame:
    """A frame and the tracks of its detections.

    Attributes:
        seen: the detections.
        tracks: one for each detection, None for a detection of no object; empty without tracks.
        filled: whether the frame was not detected on.
    """

    seen: Observation
    tracks: Tracks = ()
    filled: bool = False

    def take(self, rows: Int) -> "FollowedFrame":
        """The detections in these rows, in their order; int64 [M]."""
        tracks = [self.tracks[row] for row in rows.tolist()] if self.tracks else ()
        return FollowedFrame(self.seen.take(rows), tracks, self.filled)


class Filler:
    """Fills between the detected frames of one video, in order. Remembers the last of them."""

    def __init__(self) -> None:
        self._last: tuple[TubeFrame, Tracks] | None = None

    def between(self, frame: FollowedFrame, wanted: Sequence[int]) -> Iterator[FollowedFrame]:
        """The frames between the last detected frame and this one.

        Args:
            frame: the next detected frame.
            wanted: source indices between the two; the first detected frame has none before it.
        """
        last = self._last
        now = linked_to(None if last is None else last[0], frame.seen)
        self._last = now, frame.tracks
        if last is None or not wanted:
            return
        before = FollowedFrame(last[0].seen, last[1])
        if frame.seen.cut:
            nothing = np.zeros(0, np.int64)
            for index in wanted:
                is_before = index - before.seen.index <= frame.seen.index - index
                shown = (before, frame.take(nothing)) if is_before else (before.take(nothing), frame)
                yield _at(index, *shown, 0)
            return
        rows, columns = _pairs(last[1], now, frame.tracks)
        lone_rows = np.setdiff1d(np.arange(len(before.seen.scores)), rows)
        lone_columns = np.setdiff1d(np.arange(len(frame.seen.scores)), columns)
        start, end = before.take(np.append(rows, lone_rows)), frame.take(np.append(columns, lone_columns))
        for index in wanted:
            yield _at(index, start, end, len(rows))


def _pairs(tracks: Tracks, now: TubeFrame, later: Tracks) -> tuple[Int, Int]:
    """Rows of two consecutive detected frames that are one object, int64 [M] each.

    By track where there are tracks, else by tube, if that does not join two tracks.
    """
    columns = {id(track): column for column, track in enumerate(later) if track is not None}
    pairs = {row: columns[id(track)] for row, track in enumerate(tracks) if id(track) in columns}
    taken = set(pairs.values())
    for column, row in enumerate(now.before.tolist()):
        two_tracks = bool(tracks and tracks[row] and later[column])
        if row != NONE and row not in pairs and column not in taken and not two_tracks:
            pairs[row] = column
    return np.array(list(pairs), np.int64), np.array(list(pairs.values()), np.int64)


def _at(index: int, start: FollowedFrame, end: FollowedFrame, pairs: int) -> FollowedFrame:
    """The frame `index` between two frames whose first `pairs` rows are the same objects."""
    first, last = start.seen, end.seen
    share = np.float32((index - first.index) / (last.index - first.index))
    boxes = np.concatenate(
        [
            first.boxes[:pairs] + share * (last.boxes[:pairs] - first.boxes[:pairs]),
            first.boxes[pairs:],
            last.boxes[pairs:],
        ]
    )
    scores = np.concatenate(
        [
            first.scores[:pairs] + share * (last.scores[:pairs] - first.scores[:pairs]),
            first.scores[pairs:] * HELD,
            last.scores[pairs:] * HELD,
        ]
    )
    nearer = first if share <= 0.5 else last
    labels = np.concatenate([nearer.labels[:pairs], first.labels[pairs:], last.labels[pairs:]])
    tracks = [one or other for one, other in zip(start.tracks[:pairs], end.tracks[:pairs], strict=True)]
    tracks += [*start.tracks[pairs:], *end.tracks[pairs:]]
    seen = Observation(index=index, time=None, boxes=boxes, scores=scores, labels=labels)
    filled = FollowedFrame(seen, tracks, filled=True)
    return filled.take(np.argsort(-scores, kind="stable"))

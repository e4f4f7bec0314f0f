"""Linking detections to objects, frame after frame: position, motion and appearance.

Causal: a frame's detections are linked with tracks of earlier frames. A track gets its number when it is
confirmed. A caller that delays its output can write the number into the track's earlier frames too.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.tracks.appearance import Likeness, unit
from selsa_bundle.tracks.geometry import Float, Int, areas, enlarged, match, matched, overlaps
from selsa_bundle.tracks.objects import Gallery
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.track import Track

# Frames of the source for which an object is predicted to move on; at least the next detected frame.
MOST_MOTION: Final = 8
# Detections over which an object's speed is averaged.
SPEED_FRAMES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerOptions:
    """Parameters of the tracker, chosen on synthetic clips that no reported score uses.

    Attributes:
        start: lowest score that starts a track.
        follow: lowest score that continues one.
        certain: a detection with this score confirms its track at once.
        evidence: sum of scores from which a track is confirmed.
        provisional: an unconfirmed track is dropped after so many frames of the source without a detection.
        by_position: frames of the source after which a lost object is no longer searched by position.
        by_look: frames of the source after which a lost object is no longer searched by appearance.
        steps: each of these limits is at least so many detected frames, however far apart they are.
        alike: least similarity that finds a lost object again.
        join: least similarity that finds an object again that was lost at a cut, because most objects of
            another scene are others, and that makes two tracks one object after the whole video.
        same_place: overlap from which two detections of different classes in a frame are one object.
        too_close: overlap with an object of its class above which a detection starts no track, and with any
            detection above which its appearance, that of two objects, is not learned.
        weak: two detections of one class are one object too if one's score is below this share of the
            other's.
        most: largest number of tracks after a frame, lost ones included; those lost first are dropped.
    """

    start: float = 0.5
    follow: float = 0.3
    certain: float = 0.95
    evidence: float = 3.0
    provisional: int = 2
    by_position: int = 20
    by_look: int = 300
    steps: int = 2
    alike: float = 0.6
    join: float = 0.8
    same_place: float = 0.4
    weak: float = 0.5
    too_close: float = 0.3
    most: int = 1000


class Tracker:
    """Follows the objects of one video or stream. Its memory does not depend on the video's length.

    Args:
        options: its parameters.

    Attributes:
        gallery: all confirmed tracks.
    """

    def __init__(self, options: TrackerOptions | None = None) -> None:
        self._options = options or TrackerOptions()
        self._tracks: list[Track] = []
        self._likeness = Likeness()
        self.gallery = Gallery()
        self._count = 0
        self._last: int | None = None
        self._before: int | None = None  # the detected frame before the last one
        self._step = 1  # frames of the source since the last detected one

    def update(self, seen: Observation) -> list[Track | None]:
        """The track of each detection of the next frame; None for a detection without a track.

        The tracks change with later frames: `Track.id` is set when a track is confirmed.
        """
        finite = np.isfinite(seen.boxes).all(-1, keepdims=True)
        seen = replace(seen, boxes=np.where(finite, seen.boxes, np.float32(0)))
        covers = overlaps(seen.boxes, seen.boxes)
        usable = self._usable(seen, covers)
        self._before, self._last = self._last, seen.index
        self._step = 1 if self._before is None else max(1, seen.index - self._before)
        if seen.cut:
            for track in self._tracks:
                track.placed = False
        pairs = self._link(seen, usable)
        linked: list[Track | None] = [None] * len(seen.scores)
        for track, row in pairs:
            self._add(track, seen, row)
            linked[row] = track
        self._look(seen, pairs, (covers[:, usable] > self._options.too_close).sum(1))
        for row in np.flatnonzero(usable & (seen.scores >= self._options.start)).tolist():
            if linked[row] is None and self._may_begin(seen.labels, linked, row, covers):
                linked[row] = self._begin(seen, row)
        self._learn(seen, covers)
        self._forget(seen.index)
        return linked

    def aliases(self, *, filled: bool = False) -> dict[int, int]:
        """Numbers of tracks that are part of another object, see `Gallery.aliases`."""
        return self.gallery.aliases(self._likeness, self._options.join, filled=filled)

    def usable(self, seen: Observation) -> npt.NDArray[np.bool_]:
        """bool [N]: has an area, a score that is high enough, and no better detection of the same object."""
        return self._usable(seen, overlaps(seen.boxes, seen.boxes))

    def _usable(self, seen: Observation, covers: Float) -> npt.NDArray[np.bool_]:
        usable = (seen.scores >= self._options.follow) & (areas(seen.boxes) > 0)
        same = covers > self._options.same_place
        # The model suppressed duplicates within a class; only much weaker ones may be left.
        same &= (seen.labels[:, None] != seen.labels[None]) | (
            seen.scores[:, None] < self._options.weak * seen.scores[None]
        )
        better = np.tril(same, -1)
        for row in np.flatnonzero(usable & better.any(1)).tolist():
            usable[row] = not (better[row] & usable).any()
        return usable

    def _link(self, seen: Observation, usable: npt.NDArray[np.bool_]) -> list[tuple[Track, int]]:
        """Pairs: high scores first, then low ones near a track's predicted box, then lost objects."""
        options = self._options
        high = np.flatnonzero(usable & (seen.scores >= options.start))
        low = np.flatnonzero(usable & (seen.scores < options.start))
        limit = self._at_least(options.by_position)
        near = [t for t in self._tracks if t.placed and seen.index - t.last <= limit]
        pairs = self._by_position(near, seen, high, least=0.0)
        left = _without(near, pairs)
        recent = [track for track in left if track.frames > 1 or track.id is not None]
        pairs += self._by_position(recent, seen, low, least=0.35)
        rest = np.setdiff1d(high, [row for _, row in pairs])
        lost = _without([track for track in self._tracks if track.id is not None], pairs)
        return pairs + self._by_look(lost, seen, rest)

    def _by_position(
        self, tracks: list[Track], seen: Observation, rows: Int, *, least: float
    ) -> list[tuple[Track, int]]:
        if not tracks or not len(rows):
            return []
        gaps = np.array([seen.index - track.last for track in tracks], np.float32)
        boxes, found = _predicted(tracks, gaps, most=max(MOST_MOTION, self._step)), seen.boxes[rows]
        exact = overlaps(boxes, found)
        # Enlarged boxes overlap where fast objects just miss.
        near = (exact + overlaps(enlarged(boxes, 0.3), enlarged(found, 0.3))) / 2
        of, at = np.nonzero(near > max(least, 0.05))
        exact, near, steps = exact[of, at], near[of, at], gaps[of] / self._step
        same_class = np.array([track.label for track in tracks])[of] == seen.labels[rows[at]]
        if seen.looks is None:
            affinity = np.where(same_class | (exact > 0.6), near, -1.0) - 0.02 * steps
        else:
            # Appearance decides between objects that are near; it makes none near.
            alike = self._likeness.of_pairs(_looks(tracks)[of], seen.looks[rows[at]])
            possible = (alike > np.where(exact > 0.5, -0.5, 0.1)) & (same_class | (alike > 0.4))
            affinity = np.where(possible, near + 0.3 * np.clip(alike, 0, 1) + 0.2 * same_class, -1.0)
            affinity -= 0.01 * steps
        chosen = matched(of, at, affinity.astype(np.float32), max(least, 0.1))
        return [(tracks[track], int(rows[row])) for track, row in chosen]

    def _by_look(self, tracks: list[Track], seen: Observation, rows: Int) -> list[tuple[Track, int]]:
        if seen.looks is None or not tracks or not len(rows):
            return []
        alike = self._likeness(_looks(tracks), seen.looks[rows])
        same_class = np.array([track.label for track in tracks])[:, None] == seen.labels[rows][None]
        affinity = (alike + 0.1 * same_class - 0.1).astype(np.float32)
        options = self._options
        least = np.array([options.alike if track.placed else options.join for track in tracks])[:, None]
        affinity[affinity < least] = -1
        return [(tracks[track], int(rows[row])) for track, row in match(affinity, options.alike)]

    def _may_begin(self, labels: Int, linked: list[Track | None], row: int, covers: Float) -> bool:
        """Whether no object of the class overlaps too much with a detection without a track."""
        close = np.flatnonzero((covers[row] > self._options.too_close) & (labels == labels[row]))
        return all(linked[other] is None for other in close.tolist())

    def _begin(self, seen: Observation, row: int) -> Track:
        track = Track(
            box=seen.boxes[row],
            first=seen.index,
            first_time=seen.time,
            last=seen.index,
            last_time=seen.time,
            before=-1 if self._before is None else self._before,
        )
        if seen.looks is not None:
            track.look, track.looks = seen.looks[row].copy(), seen.looks[row] * seen.scores[row]
        self._tracks.append(track)
        self._add(track, seen, row)
        return track

    def _add(self, track: Track, seen: Observation, row: int) -> None:
        options, box, score = self._options, seen.boxes[row], float(seen.scores[row])
        if track.frames:
            track.speed = _speed(track, box, seen.index)
        track.box, track.last, track.last_time, track.placed = box, seen.index, seen.time, True
        track.frames += 1
        track.score += score
        label = int(seen.labels[row])
        track.votes[label] = track.votes.get(label, 0.0) + score
        if track.id is None and (track.score >= options.evidence or score >= options.certain):
            self._count += 1
            track.id = self._count
            self.gallery.add(track)

    def _look(self, seen: Observation, pairs: list[tuple[Track, int]], close: Int) -> None:
        """Update the appearance of the linked tracks; a detection of low score changes it less.

        Args:
            close: int64 [N], number of detections that overlap each one too much, itself among them.
        """
        pairs = [(track, row) for track, row in pairs if close[row] < 2]
        if seen.looks is None or not pairs:
            return
        rows = np.array([row for _, row in pairs])
        before, now, scores = _looks([track for track, _ in pairs]), seen.looks[rows], seen.scores[rows]
        seen_well = scores >= self._options.start
        self._likeness.learn_same((before * now).sum(-1)[seen_well])
        share = np.where(seen_well, 0.2, 0.05).astype(np.float32)[:, None]
        mixed, added = unit((1 - share) * before + share * now), now * scores[:, None]
        for (track, _), look, looks in zip(pairs, mixed, added, strict=True):
            # In place: a view would keep the arrays of the whole frame.
            track.look[:] = look  # type: ignore[index]
            track.looks += looks

    def _learn(self, seen: Observation, covers: Float) -> None:
        """Learn the similarity of different objects from detections of one frame."""
        rows = np.flatnonzero(seen.scores >= self._options.start)[:50]
        if seen.looks is None or len(rows) < 2:
            return
        self._likeness.learn_other(seen.looks[rows], covers[np.ix_(rows, rows)] < 0.1)

    def _at_least(self, limit: int) -> int:
        """A limit in frames of the source, not below `steps` detected frames."""
        return max(limit, self._options.steps * self._step)

    def _forget(self, index: int) -> None:
        options = self._options

        def is_kept(track: Track) -> bool:
            gap = index - track.last
            if track.id is None:
                return gap <= self._at_least(options.provisional) and track.placed
            return gap <= self._at_least(options.by_look if track.look is not None else options.by_position)

        self._tracks = [track for track in self._tracks if is_kept(track)]
        if len(self._tracks) > options.most:
            # Those that were lost first: new objects have room after any number of cuts.
            self._tracks = sorted(self._tracks, key=lambda track: -track.last)[: options.most]


def _looks(tracks: list[Track]) -> Float:
    """float32 [N, C], the appearances of tracks that have one."""
    return np.array([track.look for track in tracks], np.float32)


def _without(tracks: list[Track], pairs: list[tuple[Track, int]]) -> list[Track]:
    taken = {id(track) for track, _ in pairs}
    return [track for track in tracks if id(track) not in taken]


def _speed(track: Track, box: Float, index: int) -> tuple[float, float]:
    """The mean speed over about `SPEED_FRAMES` detections; zero after a cut or if a frame comes twice.

    Detected boxes jitter by more than an object's speed changes: a mean of two frames only predicts objects
    that cross to each other's places.
    """
    gap = index - track.last
    if not track.placed or gap <= 0:
        return 0.0, 0.0
    x1, y1, x2, y2 = (box - track.box).tolist()
    x, y = (x1 + x2) / 2 / gap, (y1 + y2) / 2 / gap
    share = 1 / min(track.frames, SPEED_FRAMES)
    return (1 - share) * track.speed[0] + share * x, (1 - share) * track.speed[1] + share * y


def _predicted(tracks: list[Track], gaps: Float, most: int) -> Float:
    """Predicted boxes of tracks, [N, 4]; motion counts for at most `most` frames."""
    speeds = np.array([track.speed for track in tracks], np.float32)
    moves = speeds * np.minimum(gaps, np.float32(most))[:, None]
    boxes: Float = np.array([track.box for track in tracks]) + np.tile(moves, 2)
    return boxes

"""Frame records out of detections: filtered; if asked for, rescored, linked to objects, and filled between.

With `rescore` in sequence mode a record waits for the later frames whose scores count for it. With `tracks`
it waits for `look_ahead` later frames: a track is confirmed by its second frame or a later one, and its
earlier detections get its number too if their records are still here. With `fill` the frames between two
detected ones leave with the second one. What leaves is final.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, TypedDict

from pydantic import TypeAdapter

from selsa_bundle.engine import DetectionBatch, FrameBatch
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_bundle.tracks.appearance import appearance
from selsa_bundle.tracks.cuts import CutDetector
from selsa_bundle.tracks.filling import Filler, FollowedFrame
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.rescoring import SCORE_FRAMES, Rescorer
from selsa_bundle.tracks.tracker import Tracker
from selsa_server.pipeline.detection_filter import DetectionFilter
from selsa_server.run_context import Stopwatch
from selsa_server.schema.detect import Detection, DetectParams, FrameRecord, TrackedDetection, TrackedObject
from selsa_server.video.index import VideoIndex
from selsa_server.video.prepared import TimedFrame
from selsa_server.video.selection import Selection

LOOK_AHEAD: Final = 8
TRACKS: Final = "tracks"
RESCORE: Final = "rescore"
FILL: Final = "fill"

_DETECTIONS: Final = TypeAdapter(tuple[Detection, ...])
_TRACKED: Final = TypeAdapter(tuple[TrackedDetection, ...])
# pts and time of a frame.
Moment = tuple[int | None, float | None]


class ObjectsOfSummary(TypedDict, total=False):
    """The fields of a summary about objects; empty without tracks."""

    objects: tuple[TrackedObject, ...]
    objects_left_out: int
    aliases: dict[int, int]


class _Fill:
    """Fills between the keys of a selection."""

    def __init__(self, index: VideoIndex, selection: Selection) -> None:
        self._index, self._selection = index, selection
        self._filler = Filler()
        self._last: int | None = None

    def before(self, frame: FollowedFrame) -> list[FollowedFrame]:
        """The frames between the last key and this one."""
        last, self._last = self._last, frame.seen.index
        wanted = [] if last is None else self._selection.between(last, frame.seen.index)
        return list(self._filler.between(frame, wanted))

    def moment(self, at: int) -> Moment:
        """pts and time of a frame that was not decoded."""
        return int(self._index.pts[at]) if self._index.has_pts else None, self._index.time_of(at)


class FrameRecords:
    """Makes the frame records of one video or stream, in order.

    Args:
        bundle: has the classes and the family.
        params: what is asked for.
        clock: counts the time of rescoring, tracking and filling.

    Attributes:
        look_ahead: detected frames that a record waits for; None without tracks.
        filled: records of frames that were not detected on, so far.
    """

    def __init__(self, bundle: LoadedBundle, params: DetectParams, clock: Stopwatch) -> None:
        self._filter = DetectionFilter(params, bundle.manifest.classes)
        self._classes = bundle.manifest.classes
        self._family = bundle.engines.dimensions.tensors
        self._clock = clock
        ahead = params.mode == "sequence"
        self._rescorer = Rescorer(SCORE_FRAMES if ahead else 0) if params.rescore else None
        self._tracker = Tracker() if params.tracks else None
        self._delay = LOOK_AHEAD if ahead and params.tracks else 0
        self._fill: _Fill | None = None
        # None where no record depends on another frame.
        self._cuts = CutDetector() if params.rescore or params.tracks or params.fill != "none" else None
        self._same: tuple[DetectionBatch, int, tuple[Detection, ...]] | None = None
        self._waiting: deque[FollowedFrame] = deque()
        self._moments: dict[int, Moment] = {}
        self.filled = 0
        self.look_ahead: int | None = None
        if params.tracks:
            self.look_ahead = self._delay + (SCORE_FRAMES if ahead and params.rescore else 0)

    def fill(self, index: VideoIndex, selection: Selection) -> None:
        """Answer the frames between the keys of a selection too; called before the first frame."""
        self._fill = _Fill(index, selection)

    def add(
        self, frame: TimedFrame, features: FrameBatch, found: DetectionBatch, position: int
    ) -> list[FrameRecord]:
        """The records that are final after the next frame.

        Args:
            features: of the frame engine, a batch of one.
        """
        if self._cuts is None:
            return [self._plain(frame, found, position)]
        self._moments[frame.index] = frame.pts, frame.time
        seen = self._seen(frame, features, found, position)
        if self._rescorer is None:
            return self._recorded([seen], self._delay)
        with self._clock(RESCORE):
            rescored = self._rescorer.add(seen)
        return self._recorded(rescored, self._delay)

    def rest(self) -> list[FrameRecord]:
        """The records that still wait, after the last frame."""
        return self._recorded([] if self._rescorer is None else self._rescorer.rest(), 0)

    def summary(self) -> ObjectsOfSummary:
        """What the summary says about objects."""
        if self._tracker is None:
            return {}
        with self._clock(TRACKS):
            aliases = self._tracker.aliases(filled=self._fill is not None)
            objects = self._tracker.gallery.objects(aliases)
        listed = tuple(
            TrackedObject(
                **each,
                class_name=self._classes[each["class_id"]],
            )
            for each in objects
        )
        summary = ObjectsOfSummary(objects=listed, aliases=aliases)
        if left_out := self._tracker.gallery.left_out:
            summary["objects_left_out"] = left_out
        return summary

    def _seen(
        self, frame: TimedFrame, features: FrameBatch, found: DetectionBatch, position: int
    ) -> Observation:
        # Rescoring needs the detections that are too weak yet.
        choose = self._filter.rows if self._rescorer is None else self._filter.rows_of_classes
        rows = choose(found, position)
        looks = None if self._tracker is None else appearance(self._family, features, found, position)
        return Observation(
            index=frame.index,
            time=frame.time,
            boxes=found.boxes[position, rows],
            scores=found.scores[position, rows],
            labels=found.labels[position, rows],
            looks=None if looks is None else looks[rows],
            cut=self._cuts is not None and self._cuts.is_cut(frame.prepared.picture),
        )

    def _plain(self, frame: TimedFrame, found: DetectionBatch, position: int) -> FrameRecord:
        """The record of a frame by itself; equal frames have the very detections of the first of them."""
        if self._same is None or self._same[0] is not found or self._same[1] != position:
            rows = self._filter.rows(found, position)
            boxes, scores, labels = (
                each[position, rows] for each in (found.boxes, found.scores, found.labels)
            )
            detections = self._filter.detections(boxes, scores, labels)
            self._same = found, position, _DETECTIONS.validate_python(tuple(detections))
        return FrameRecord(index=frame.index, pts=frame.pts, time=frame.time, detections=self._same[2])

    def _recorded(self, frames: list[Observation], staying: int) -> list[FrameRecord]:
        """The records that leave when these frames follow; `staying` frames wait."""
        for seen in frames:
            self._waiting.append(self._followed(seen))
        leaving = [self._waiting.popleft() for _ in range(len(self._waiting) - staying)]
        return [self._record(each) for frame in leaving for each in self._with_filled(frame)]

    def _followed(self, seen: Observation) -> FollowedFrame:
        if self._rescorer is not None:
            seen = seen.take(self._filter.kept(seen.scores))
        if self._tracker is None:
            return FollowedFrame(seen)
        with self._clock(TRACKS):
            return FollowedFrame(seen, self._tracker.update(seen))

    def _with_filled(self, frame: FollowedFrame) -> Iterator[FollowedFrame]:
        """The frames to fill before a detected frame, then the frame."""
        if self._fill is not None:
            with self._clock(FILL):
                filled = self._fill.before(frame)
            self.filled += len(filled)
            for each in filled:
                self._moments[each.seen.index] = self._fill.moment(each.seen.index)
                yield each.take(self._filter.kept(each.seen.scores))
        yield frame

    def _record(self, frame: FollowedFrame) -> FrameRecord:
        seen = frame.seen
        detections = self._filter.detections(seen.boxes, seen.scores, seen.labels)
        pts, time = self._moments.pop(seen.index)
        return FrameRecord(
            index=seen.index,
            pts=pts,
            time=time,
            filled=frame.filled,
            detections=self._validated(detections, frame),
        )

    def _validated(self, detections: list[dict[str, Any]], frame: FollowedFrame) -> tuple[Detection, ...]:
        if self._tracker is None:
            return _DETECTIONS.validate_python(tuple(detections))
        numbered = (
            {**each, "track_id": None if track is None else track.id}
            for each, track in zip(detections, frame.tracks, strict=True)
        )
        return _TRACKED.validate_python(tuple(numbered))

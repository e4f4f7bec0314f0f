"""Frame records out of detections: filtered, and with tracks linked to objects.

With tracks, a record waits for `look_ahead` later ones: a track is confirmed by its second frame or a later
one, and its earlier detections get its number too if their records are still here. What leaves is final.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from pydantic import TypeAdapter

from selsa_bundle.engine import DetectionBatch, FrameBatch
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_bundle.tracks.appearance import appearance
from selsa_bundle.tracks.cuts import CutDetector
from selsa_bundle.tracks.track import Track
from selsa_bundle.tracks.tracker import Observation, Tracker
from selsa_server.pipeline.detection_filter import DetectionFilter
from selsa_server.run_context import Stopwatch
from selsa_server.schema.detect import Detection, DetectParams, FrameRecord, TrackedDetection, TrackedObject
from selsa_server.video.prepared import TimedFrame

LOOK_AHEAD: Final = 8
TRACKS: Final = "tracks"

_DETECTIONS: Final = TypeAdapter(tuple[Detection, ...])
_TRACKED: Final = TypeAdapter(tuple[TrackedDetection, ...])


class ObjectsOfSummary(TypedDict, total=False):
    """The fields of a summary about objects; empty without tracks."""

    objects: tuple[TrackedObject, ...]
    objects_left_out: int
    aliases: dict[int, int]


@dataclass(frozen=True, slots=True)
class _Waiting:
    frame: tuple[int, int | None, float | None]
    detections: list[dict[str, Any]]
    tracks: Sequence[Track | None]


class FrameRecords:
    """Makes the frame records of one video or stream, in order.

    Args:
        bundle: has the classes and the family.
        params: what is asked for.
        clock: counts the time of tracking.

    Attributes:
        look_ahead: records that wait; None without tracks.
    """

    def __init__(self, bundle: LoadedBundle, params: DetectParams, clock: Stopwatch) -> None:
        self._filter = DetectionFilter(params, bundle.manifest.classes)
        self._classes = bundle.manifest.classes
        self._family = bundle.engines.dimensions.tensors
        self._clock = clock
        self._tracker = Tracker() if params.tracks else None
        self._cuts = CutDetector()
        self._waiting: deque[_Waiting] = deque()
        self.look_ahead: int | None = None
        if params.tracks:
            self.look_ahead = LOOK_AHEAD if params.mode == "sequence" else 0

    def add(
        self, frame: TimedFrame, features: FrameBatch, found: DetectionBatch, position: int
    ) -> list[FrameRecord]:
        """The records that are final after the next frame, at most one.

        Args:
            features: of the frame engine, a batch of one.
        """
        rows = self._filter.rows(found, position)
        detections = self._filter.detections(found, position, rows)
        about = (frame.index, frame.pts, frame.time)
        if self._tracker is None:
            return [_record(about, _DETECTIONS.validate_python(tuple(detections)))]
        with self._clock(TRACKS):
            looks = appearance(self._family, features, found, position)
            tracks = self._tracker.update(
                Observation(
                    index=frame.index,
                    time=frame.time,
                    boxes=found.boxes[position, rows],
                    scores=found.scores[position, rows],
                    labels=found.labels[position, rows],
                    looks=None if looks is None else looks[rows],
                    cut=self._cuts.is_cut(frame.prepared.pixels),
                )
            )
        self._waiting.append(_Waiting(about, detections, tracks))
        return self._leaving(self.look_ahead or 0)

    def rest(self) -> list[FrameRecord]:
        """The records that still wait, after the last frame."""
        return self._leaving(0)

    def summary(self) -> ObjectsOfSummary:
        """What the summary says about objects."""
        if self._tracker is None:
            return {}
        with self._clock(TRACKS):
            aliases = self._tracker.aliases()
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

    def _leaving(self, staying: int) -> list[FrameRecord]:
        return [self._final(self._waiting.popleft()) for _ in range(len(self._waiting) - staying)]

    def _final(self, waiting: _Waiting) -> FrameRecord:
        numbered = (
            {**each, "track_id": None if track is None else track.id}
            for each, track in zip(waiting.detections, waiting.tracks, strict=True)
        )
        return _record(waiting.frame, _TRACKED.validate_python(tuple(numbered)))


def _record(frame: tuple[int, int | None, float | None], detections: tuple[Detection, ...]) -> FrameRecord:
    index, pts, time = frame
    return FrameRecord(index=index, pts=pts, time=time, detections=detections)

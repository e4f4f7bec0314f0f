"""One run of the pipeline: the reference frames, then the key frames, in bounded time and memory."""

import itertools
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from selsa_bundle.bank import BankSlots, SequenceBank
from selsa_bundle.engine import DetectionBatch, FrameBatch, ReferenceBank
from selsa_bundle.references import spread_references
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_bundle.tracks.cuts import alike, scene_of
from selsa_server.decoders.protocol import OpenVideo
from selsa_server.errors import VideoError
from selsa_server.pipeline.frame_records import FrameRecords
from selsa_server.pipeline.inference import Inference
from selsa_server.pipeline.online import OnlineDetection
from selsa_server.pipeline.prefetch import Prefetch
from selsa_server.pipeline.shots import ShotPart, ShotParts
from selsa_server.pipeline.video_record import video_record
from selsa_server.run_context import RunContext
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.index import VideoIndex
from selsa_server.video.prepared import TimedFrame, in_batches
from selsa_server.video.selection import Selection

if TYPE_CHECKING:  # `selsa detect --local` has no settings.
    from selsa_server.settings import VideoSettings

# Detections of some frames, and the place of one of them.
_Found = tuple[DetectionBatch, int]
PARTS = ("index", "decode", "prepare", "frame_engine", "sequence_engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """How the pipeline works; no result depends on these.

    Attributes:
        limits: of one video.
        batch: frames of one video in one engine call at most.
        prefetch: frames that are decoded ahead at most.
        model: the name that `DetectParams.model` may give; None: the bundle's own.
    """

    limits: VideoLimits = field(default_factory=VideoLimits)
    batch: int = 4
    prefetch: int = 8
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Where an earlier run on the same video, with the same parameters and bundle, ended.

    Attributes:
        emitted: frame records of that run, all of them kept.
        last: source index of the last of them.
    """

    emitted: int
    last: int


def pipeline_options(settings: "VideoSettings") -> PipelineOptions:
    """The options of the settings, without a model's name."""
    limits = VideoLimits(
        max_duration=settings.max_duration, max_frames=settings.max_frames, max_pixels=settings.max_pixels
    )
    return PipelineOptions(limits=limits, batch=settings.batch, prefetch=settings.prefetch)


class PipelineRun:
    """One detection run on one video; see `DetectionPipeline.run`."""

    def __init__(
        self, bundle: LoadedBundle, options: PipelineOptions, params: DetectParams, run: RunContext
    ) -> None:
        self.run = run
        self.bundle = bundle
        self.options = options
        self.params = params
        for part in PARTS:
            run.clock.add(part, 0.0)
        self.inference = Inference(bundle.engines, run.clock)
        self.frame_records = FrameRecords(bundle, params, run.clock)
        self.corrupt = 0
        self.emitted = 0
        self._last: tuple[FrameBatch, _Found] | None = None
        self._by_shot = False

    def records(
        self, video: OpenVideo, selection: Selection, resume: Resume
    ) -> Generator[VideoRecord | FrameRecord | SummaryRecord, None, None]:
        """The records after those of an earlier run."""
        index = video.index
        keys = selection.keys
        self.run.progress.total = len(selection.frames)
        if selection.filled:
            self.frame_records.fill(index, selection)
        if self.params.mode == "sequence":
            bank = self._sequence_bank(video, selection.references)
            if self.run.stopped():
                return
            if self._by_shot:
                yield self._video_record(index, ())
                found = self._shots(video, keys, len(selection.references))
            else:
                yield self._video_record(index, bank.used)
                keys = keys if self._is_linked else self._left(keys, resume)
                found = self._sequence(video, keys, bank)
        else:
            yield self._video_record(index, ())
            found = self._online(video, keys)
        # Online banks, shots and links between frames depend on earlier frames, so all frames run again.
        yield from (record for record in found if record.index > resume.last)
        if self.run.stopped():
            return
        yield from (record for record in self.frame_records.rest() if record.index > resume.last)
        # Release the decoder before yielding the summary.
        video.release()
        if self.emitted == 0:
            count = len(selection.keys)
            raise VideoError("undecodable", f"None of the {count} selected frames can be decoded.")
        self.run.progress.done = self.run.progress.total
        yield self._summary(index, selection)

    @property
    def _is_linked(self) -> bool:
        """Whether the records of a frame depend on other frames' detections."""
        return self.params.tracks or self.params.rescore or self.params.fill != "none"

    def _video_record(self, index: VideoIndex, references: tuple[int, ...]) -> VideoRecord:
        look_ahead = self.frame_records.look_ahead
        return video_record(self.bundle, index, self.params, references, look_ahead)

    def _left(self, keys: Sequence[int], resume: Resume) -> Sequence[int]:
        """The key frames after those of an earlier run, which count as done."""
        before = bisect_right(keys, resume.last)
        self.emitted, self.corrupt = resume.emitted, before - resume.emitted
        self.run.progress.done = before
        return keys[before:]

    def _sequence_bank(self, video: OpenVideo, references: Sequence[int]) -> SequenceBank:
        bank = SequenceBank(self.bundle.engines.dimensions, references)
        scenes = []
        with self._frames(video, bank.wanted) as frames:
            for batch, _ in self._batches(frames):
                features = self.inference.frames([frame.prepared for frame in batch])
                for frame, known in zip(batch, features, strict=True):
                    bank.add(frame.index, known)
                    scenes.append(scene_of(frame.prepared.picture))
        one_scene = all(itertools.starmap(alike, itertools.pairwise(scenes)))
        self._by_shot = self.bundle.engines.dimensions.tensors.by_shot and not one_scene
        return bank

    def _sequence(
        self, video: OpenVideo, keys: Sequence[int], bank: SequenceBank
    ) -> Generator[FrameRecord, None, None]:
        with self._frames(video, keys) as frames:
            for batch, corrupt in self._batches(frames):
                self._count_corrupt(corrupt)
                if not batch:
                    continue
                recalled = [bank.recall(frame.index) for frame in batch]
                unknown = [f.prepared for f, known in zip(batch, recalled, strict=True) if known is None]
                new = iter(self.inference.frames(unknown))
                features = [next(new) if known is None else known for known in recalled]
                found = self._detect(batch, features, bank.bank)
                for frame, known, (detections, position) in zip(batch, features, found, strict=True):
                    yield from self._records(frame, known, detections, position)

    def _shots(
        self, video: OpenVideo, keys: Sequence[int], references: int
    ) -> Generator[FrameRecord, None, None]:
        """Each shot with references spread over its own key frames; a long shot in parts that overlap."""
        parts = ShotParts()
        with self._frames(video, keys) as frames:
            for batch, corrupt in self._batches(frames):
                self._count_corrupt(corrupt)
                features = self.inference.frames([frame.prepared for frame in batch])
                for frame, known in zip(batch, features, strict=True):
                    yield from self._part(parts.add(frame, known), references)
        if not self.run.stopped():
            yield from self._part(parts.rest(), references)

    def _part(self, part: ShotPart, references: int) -> Generator[FrameRecord, None, None]:
        if not part.ready:
            return
        slots = BankSlots(self.bundle.engines.dimensions, references)
        for slot, position in enumerate(spread_references(len(part.frames), references)):
            slots.fill(slot, part.features[position])
        self._last = None
        for first in range(0, part.ready, self.options.batch):
            if self.run.stopped():
                return
            here = slice(first, min(first + self.options.batch, part.ready))
            batch, features = part.frames[here], part.features[here]
            found = self._detect(batch, features, slots.bank)
            for frame, known, (detections, position) in zip(batch, features, found, strict=True):
                yield from self._records(frame, known, detections, position)

    def _detect(
        self, batch: Sequence[TimedFrame], features: Sequence[FrameBatch], bank: ReferenceBank
    ) -> list[_Found]:
        """Detections of each frame; a frame that equals the one before it has that one's."""
        before = None if self._last is None else self._last[0]
        new: list[int] = []
        places: list[int] = []
        for position, known in enumerate(features):
            if known is not before:
                new.append(position)
            places.append(len(new) - 1)
            before = known
        found: list[_Found] = []
        if new:
            prepared, inputs = [batch[i].prepared for i in new], [features[i] for i in new]
            detections = self.inference.sequence(prepared, inputs, bank)
            found = [(detections, place) for place in range(len(new))]
        each = [self._last[1] if place < 0 and self._last else found[place] for place in places]
        self._last = features[-1], each[-1]
        return each

    def _online(self, video: OpenVideo, keys: Sequence[int]) -> Generator[FrameRecord, None, None]:
        online = OnlineDetection(self.bundle, self.params, self.inference)
        with self._frames(video, keys) as frames:
            for batch, corrupt in self._batches(frames):
                self._count_corrupt(corrupt)
                each = online.detect([frame.prepared for frame in batch])
                for frame, (features, detections) in zip(batch, each, strict=True):
                    yield from self._records(frame, features, detections, 0)

    def _count_corrupt(self, count: int) -> None:
        self.corrupt += count
        self.run.progress.done += count

    def _batches(self, frames: Prefetch[TimedFrame | CorruptFrame]) -> Iterator[tuple[list[TimedFrame], int]]:
        batches = in_batches(frames, self.options.batch)
        return itertools.takewhile(lambda _: not self.run.stopped(), batches)

    def _frames(self, video: OpenVideo, wanted: Sequence[int]) -> Prefetch[TimedFrame | CorruptFrame]:
        source = video.frames(wanted, self.run, tolerant=self.params.decode == "tolerant")
        return Prefetch(
            source.items, self.options.prefetch, interrupt=source.interrupt, stopped=self.run.stopped
        )

    def _records(
        self, frame: TimedFrame, features: FrameBatch, found: DetectionBatch, position: int
    ) -> list[FrameRecord]:
        self.emitted += 1
        self.run.progress.done += 1
        filled = self.frame_records.filled
        records = self.frame_records.add(frame, features, found, position)
        self.run.progress.done += self.frame_records.filled - filled
        return records

    def _summary(self, index: VideoIndex, selection: Selection) -> SummaryRecord:
        objects = self.frame_records.summary()
        filled = self.frame_records.filled
        return SummaryRecord(
            complete=self.corrupt == 0 and index.damage is None,
            demuxed=len(index.pts),
            decoded=self.emitted,
            corrupt=self.corrupt,
            skipped=len(index.pts) - self.emitted - filled - self.corrupt,
            emitted=self.emitted + filled,
            filled=filled if selection.filled else None,
            clock_jumps=index.clock_jumps,
            seconds=self.run.clock.elapsed,
            timings=self.run.clock.parts,
            **objects,
        )

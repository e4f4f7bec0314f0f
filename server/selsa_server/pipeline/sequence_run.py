"""One run of the pipeline: the reference frames, then the key frames, in bounded time and memory."""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from selsa_bundle.bank import BankSlots, SequenceBank
from selsa_bundle.engine import DetectionBatch, FrameBatch
from selsa_bundle.references import spread_references
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_bundle.tracks.cuts import alike, scene_of
from selsa_server.decoders.protocol import FrameSource, OpenVideo
from selsa_server.errors import VideoError
from selsa_server.pipeline.calls import CALLS, in_order
from selsa_server.pipeline.frame_records import FrameRecords
from selsa_server.pipeline.inference import Inference, Repeats
from selsa_server.pipeline.online import OnlineDetection
from selsa_server.pipeline.passes import TwoPasses
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

# Features of a key frame, detections of some key frames, and its position among those.
_Found = tuple[FrameBatch, DetectionBatch, int]
T = TypeVar("T")
Source = FrameSource[TimedFrame | CorruptFrame]
PARTS = ("index", "decode", "prepare", "frame_engine", "sequence_engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """How the pipeline works; no result depends on these.

    Attributes:
        limits: of one video.
        batch: frames of one video that the engines have at most; in `sequence` mode in two calls.
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

        def read(wanted: Sequence[int]) -> Source:
            return video.frames(wanted, self.run, tolerant=self.params.decode == "tolerant")

        references = selection.references
        passes = TwoPasses(read, sorted(set(references)), keys, self.bundle.manifest.preprocess.largest_bytes)
        if self.params.mode == "sequence":
            bank = self._sequence_bank(passes.references(), references)
            if self.run.stopped():
                passes.close()
                return
            if self._by_shot:
                yield self._video_record(index, ())
                found = self._shots(passes.keys(keys), len(references))
            else:
                yield self._video_record(index, bank.used)
                keys = keys if self._is_linked else self._left(keys, resume)
                found = self._sequence(passes.keys(keys), bank)
        else:
            yield self._video_record(index, ())
            found = self._online(read(keys))
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

    def _sequence_bank(self, source: Source, references: Sequence[int]) -> SequenceBank:
        bank = SequenceBank(self.bundle.engines.dimensions, references)
        scenes = []
        for batch, _, found in self._computed(source, self._features):
            for frame, known in zip(batch, found, strict=True):
                bank.add(frame.index, known)
                scenes.append(scene_of(frame.prepared.picture))
        # In a dissolve of a short film each reference frame may be like the next.
        pairs = itertools.chain(itertools.pairwise(scenes), zip(scenes, scenes[2:], strict=False))
        one_scene = all(itertools.starmap(alike, pairs))
        self._by_shot = self.bundle.engines.dimensions.tensors.by_shot and not one_scene
        return bank

    def _sequence(self, source: Source, bank: SequenceBank) -> Generator[FrameRecord, None, None]:
        def detections(frames: list[TimedFrame]) -> list[_Found]:
            return self._detect(frames, bank)

        for batch, corrupt, each in self._computed(source, detections):
            self._count_corrupt(corrupt)
            for frame, found in zip(batch, each, strict=True):
                yield from self._records(frame, *found)

    def _shots(self, source: Source, references: int) -> Generator[FrameRecord, None, None]:
        """Each shot with references spread over its own key frames; a long shot in parts that overlap."""
        parts = ShotParts()
        for batch, corrupt, features in self._computed(source, self._features):
            self._count_corrupt(corrupt)
            for frame, known in zip(batch, features, strict=True):
                yield from self._part(parts.add(frame, known), references)
        if not self.run.stopped():
            yield from self._part(parts.rest(), references)

    def _part(self, part: ShotPart, references: int) -> Generator[FrameRecord, None, None]:
        frames, features = part.frames, part.features
        slots = BankSlots(self.bundle.engines.dimensions, references)
        for slot, position in enumerate(spread_references(len(frames), references) if part.ready else ()):
            slots.fill(slot, features[position])
        for first in range(0, part.ready, self.options.batch):
            if self.run.stopped():
                return
            batch = range(first, min(first + self.options.batch, part.ready))
            # A frame that equals the one before it has that one's very features.
            new = [i for i in batch if i == first or features[i] is not features[i - 1]]
            prepared = [frames[i].prepared for i in new]
            found = self.inference.sequence(prepared, [features[i] for i in new], slots.bank)
            place = -1
            for i in batch:
                place += i in new
                yield from self._records(frames[i], features[i], found, place)

    def _features(self, frames: list[TimedFrame]) -> list[FrameBatch]:
        return self.inference.frames([frame.prepared for frame in frames])

    def _detect(self, frames: list[TimedFrame], bank: SequenceBank) -> list[_Found]:
        recalled = [bank.recall(frame.index) for frame in frames]
        unknown = [f.prepared for f, known in zip(frames, recalled, strict=True) if known is None]
        new = iter(self.inference.frames(unknown))
        features = [next(new) if known is None else known for known in recalled]
        found = self.inference.sequence([frame.prepared for frame in frames], features, bank.bank)
        return [(known, found, position) for position, known in enumerate(features)]

    def _computed(
        self, source: Source, compute: Callable[[list[TimedFrame]], list[T]]
    ) -> Generator[tuple[list[TimedFrame], int, list[T]], None, None]:
        """Batches of frames with the number of corrupt ones before their end and a result for each frame.

        A frame that equals the one before it has that one's very result. Once the run is stopped, no call
        begins and there are no more batches.
        """

        def call(batch: tuple[list[TimedFrame], int, list[int], list[int]]) -> list[T]:
            frames, _, new, _ = batch
            return compute([frames[i] for i in new]) if new and not self.run.stopped() else []

        calls = min(CALLS, self.options.batch)
        repeats = Repeats()
        last: list[T] = []
        with self._ahead(source) as frames:
            batches = (
                (batch, corrupt, *repeats.places([frame.prepared for frame in batch]))
                for batch, corrupt in in_batches(frames, self.options.batch // calls)
            )
            left = itertools.takewhile(lambda _: not self.run.stopped(), batches)
            for (batch, corrupt, _, places), results in in_order(left, call, calls, self.run.stopped):
                if self.run.stopped():
                    return
                found = [results[place] if place >= 0 else last[0] for place in places]
                last = found[-1:] or last
                yield batch, corrupt, found

    def _online(self, source: Source) -> Generator[FrameRecord, None, None]:
        online = OnlineDetection(self.bundle, self.params, self.inference)
        for batch, corrupt, features in self._computed(source, self._features):
            self._count_corrupt(corrupt)
            each = online.detect([frame.prepared for frame in batch], features)
            for frame, known, detections in zip(batch, features, each, strict=True):
                yield from self._records(frame, known, detections, 0)

    def _count_corrupt(self, count: int) -> None:
        self.corrupt += count
        self.run.progress.done += count

    def _ahead(self, source: Source) -> Prefetch[TimedFrame | CorruptFrame]:
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

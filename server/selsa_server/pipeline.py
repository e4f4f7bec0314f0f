"""The detection pipeline: a video file in, records out, in bounded time and memory.

Pass 1 demuxes to learn the frames and their times. In `sequence` mode the reference frames, spread over the
whole clip, are decoded and fill the bank. Pass 2 decodes in order; decoding and resizing run a bounded way
ahead of the engines. Served and local detection are this class; it knows no web framework.
"""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from selsa_bundle.bank import SequenceBank
from selsa_bundle.engine import DetectionBatch
from selsa_bundle.load import LoadedBundle
from selsa_server.container import VideoLimits
from selsa_server.decode import CorruptFrame
from selsa_server.errors import ParameterError, VideoError
from selsa_server.inference import Inference
from selsa_server.online import OnlineDetection
from selsa_server.prefetch import Prefetch
from selsa_server.prepared import FrameInHand, in_batches, prepare_frames
from selsa_server.progress import Progress, Resume
from selsa_server.records import DetectionFilter
from selsa_server.schema import DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.selection import Selection, select_frames
from selsa_server.stopwatch import Stopwatch
from selsa_server.video_index import VideoIndex, index_video
from selsa_server.video_record import video_record

__all__ = ["DetectionPipeline", "PipelineOptions"]

PARTS = ("index", "decode", "prepare", "frame_engine", "sequence_engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """How the pipeline works, not what it computes: no result depends on these.

    Attributes:
        limits: what a video may be at most.
        batch: frames of one video in one engine call at most.
        prefetch: frames that are decoded ahead at most.
        model: the name that `DetectParams.model` may give; None: the bundle's own.
    """

    limits: VideoLimits = field(default_factory=VideoLimits)
    batch: int = 4
    prefetch: int = 8
    model: str | None = None


class DetectionPipeline:
    """Detects on video files with one bundle. Holds no state between runs; safe for several threads."""

    def __init__(self, bundle: LoadedBundle, options: PipelineOptions | None = None) -> None:
        self.bundle = bundle
        self.options = options or PipelineOptions()

    def check(self, params: DetectParams) -> None:
        """Refuse what the bundle does not have, before any work.

        Raises:
            ParameterError: another model, an unknown class, or more detections than the engine gives.
        """
        model = self.options.model or self.bundle.manifest.name
        if params.model not in (None, model):
            raise ParameterError("model", f"There is no model {params.model!r} here.", model)
        names = self.bundle.manifest.classes
        for name in params.classes:
            if name not in names:
                allowed = ", ".join(names)
                raise ParameterError("classes", f"The model has no class {name!r}.", allowed)
        limit = self.bundle.engines.dimensions.detections
        if params.max_detections is not None and params.max_detections > limit:
            raise ParameterError(
                "max_detections",
                f"max_detections is {params.max_detections}; the model gives {limit} at most.",
                f"1 to {limit}",
            )

    def run(
        self,
        path: Path,
        params: DetectParams,
        *,
        stopped: Callable[[], bool] = lambda: False,
        progress: Progress | None = None,
        resume: Resume | None = None,
        index: VideoIndex | None = None,
    ) -> Generator[VideoRecord | FrameRecord | SummaryRecord, None, None]:
        """Detect on a video file.

        Args:
            path: the file.
            params: what was asked for.
            stopped: asked before every engine call; once it is true, the records end there, without a
                summary. A generator cannot be closed while it works, and the reference frames are run before
                the first record.
            progress: kept up to date with the frames selected and done.
            resume: where an earlier run had come to; the frame records that it gave are left out, and in
                `sequence` mode are not computed again.
            index: what pass 1 learned of the file, if it was made already.

        Yields:
            One `VideoRecord`, a `FrameRecord` per selected frame in order, one `SummaryRecord`. Closing the
            generator stops decoding and inference after the call in hand.

        Raises:
            ParameterError: a parameter that does not fit the bundle or the video.
            VideoError: no video, over a limit, or not decodable.
            EngineFailureError: an engine failed.
        """
        self.check(params)
        run = _Run(self.bundle, self.options, path, params, stopped, progress or Progress())
        return run.records(resume or Resume(emitted=0, last=-1), index)


class _Run:
    """One video's way through the pipeline."""

    def __init__(
        self,
        bundle: LoadedBundle,
        options: PipelineOptions,
        path: Path,
        params: DetectParams,
        stopped: Callable[[], bool],
        progress: Progress,
    ) -> None:
        self.stopped = stopped
        self.progress = progress
        self.bundle = bundle
        self.options = options
        self.path = path
        self.params = params
        self.clock = Stopwatch(PARTS)
        self.inference = Inference(bundle.engines, self.clock)
        self.filter = DetectionFilter(params, bundle.manifest.classes)
        self.corrupt = 0
        self.emitted = 0

    def records(
        self, resume: Resume, index: VideoIndex | None
    ) -> Generator[VideoRecord | FrameRecord | SummaryRecord, None, None]:
        with self.clock("index"):
            index = index or index_video(self.path, self.options.limits)
        selection = select_frames(index, self.params, self.bundle.manifest.reference_frames)
        keys = selection.keys
        self.progress.total = len(keys)
        if self.params.mode == "sequence":
            bank = self._sequence_bank(index, selection.references)
            if self.stopped():
                return
            yield video_record(self.bundle, index, self.params, bank.used)
            keys = self._left(keys, resume)
            yield from self._sequence(index, keys, bank)
        else:
            yield video_record(self.bundle, index, self.params, ())
            # The bank depends on every frame before, so all are run again.
            yield from self._online(index, keys, resume.last)
        if self.stopped():
            return
        if self.emitted == 0:
            count = len(selection.keys)
            raise VideoError("undecodable", f"None of the {count} selected frames can be decoded.")
        yield self._summary(index, selection)

    def _left(self, keys: Sequence[int], resume: Resume) -> Sequence[int]:
        """The key frames after those of an earlier run, which are counted."""
        before = bisect_right(keys, resume.last)
        self.emitted, self.corrupt = resume.emitted, before - resume.emitted
        self.progress.done = before
        return keys[before:]

    def _sequence_bank(self, index: VideoIndex, references: Sequence[int]) -> SequenceBank:
        bank = SequenceBank(self.bundle.engines.dimensions, references)
        with self._frames(index, bank.wanted) as frames:
            for batch, _ in self._batches(frames):
                features = self.inference.frames([frame.prepared for frame in batch])
                for frame, known in zip(batch, features, strict=True):
                    bank.add(frame.index, known)
        return bank

    def _sequence(
        self, index: VideoIndex, keys: Sequence[int], bank: SequenceBank
    ) -> Generator[FrameRecord, None, None]:
        with self._frames(index, keys) as frames:
            for batch, corrupt in self._batches(frames):
                self._count_corrupt(corrupt)
                if not batch:
                    continue
                recalled = [bank.recall(frame.index) for frame in batch]
                unknown = [f.prepared for f, known in zip(batch, recalled, strict=True) if known is None]
                new = iter(self.inference.frames(unknown))
                features = [next(new) if known is None else known for known in recalled]
                prepared = [frame.prepared for frame in batch]
                detections = self.inference.sequence(prepared, features, bank.bank)
                for position, frame in enumerate(batch):
                    yield self._record(frame, detections, position)

    def _online(
        self, index: VideoIndex, keys: Sequence[int], after: int
    ) -> Generator[FrameRecord, None, None]:
        online = OnlineDetection(self.bundle, self.params, self.inference)
        with self._frames(index, keys) as frames:
            for batch, corrupt in self._batches(frames):
                self._count_corrupt(corrupt)
                each = online.detect([frame.prepared for frame in batch])
                for frame, detections in zip(batch, each, strict=True):
                    record = self._record(frame, detections, 0)
                    if frame.index > after:
                        yield record

    def _count_corrupt(self, count: int) -> None:
        self.corrupt += count
        self.progress.done += count

    def _batches(
        self, frames: Prefetch[FrameInHand | CorruptFrame]
    ) -> Iterator[tuple[list[FrameInHand], int]]:
        batches = in_batches(frames, self.options.batch)
        return itertools.takewhile(lambda _: not self.stopped(), batches)

    def _frames(self, index: VideoIndex, wanted: Sequence[int]) -> Prefetch[FrameInHand | CorruptFrame]:
        frames = prepare_frames(
            self.path,
            index,
            wanted,
            self.bundle.manifest.preprocess,
            self.clock,
            tolerant=self.params.decode == "tolerant",
        )
        return Prefetch(frames, self.options.prefetch)

    def _record(self, frame: FrameInHand, detections: DetectionBatch, position: int) -> FrameRecord:
        self.emitted += 1
        self.progress.done += 1
        return FrameRecord(
            index=frame.index, pts=frame.pts, time=frame.time, detections=self.filter(detections, position)
        )

    def _summary(self, index: VideoIndex, selection: Selection) -> SummaryRecord:
        return SummaryRecord(
            complete=self.corrupt == 0,
            demuxed=len(index.pts),
            decoded=self.emitted,
            corrupt=self.corrupt,
            skipped=len(index.pts) - len(selection.keys),
            emitted=self.emitted,
            seconds=self.clock.elapsed,
            timings=self.clock.parts,
        )

"""The detection pipeline: a video file in, records out, in bounded time and memory.

Pass 1 demuxes to learn the frames and their times. In `sequence` mode the reference frames, spread over the
whole clip, are decoded and fill the bank. Pass 2 decodes in order; decoding and resizing run a bounded way
ahead of the engines. Served and local detection are this class; it knows no web framework.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from selsa_bundle.engine import DetectionBatch
from selsa_bundle.load import LoadedBundle
from selsa_server.bank import FirstFrameBank, OnlineBank, SequenceBank, SpreadBank
from selsa_server.container import VideoLimits
from selsa_server.decode import CorruptFrame
from selsa_server.errors import ParameterError, VideoError
from selsa_server.inference import Inference
from selsa_server.prefetch import Prefetch
from selsa_server.prepared import FrameInHand, in_batches, prepare_frames
from selsa_server.records import DetectionFilter
from selsa_server.schema import DetectParams, FrameRecord, ModelInfo, SummaryRecord, VideoRecord
from selsa_server.selection import Selection, select_frames
from selsa_server.stopwatch import Stopwatch
from selsa_server.video_index import VideoIndex, index_video

__all__ = ["DetectionPipeline", "PipelineOptions"]

# The published demo passes ten copies of the first frame.
FIRST_FRAME_COPIES = 10
PARTS = ("index", "decode", "prepare", "frame_engine", "sequence_engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """How the pipeline works, not what it computes: no result depends on these.

    Attributes:
        limits: what a video may be at most.
        batch: frames of one video in one engine call at most.
        prefetch: frames that are decoded ahead at most.
    """

    limits: VideoLimits = field(default_factory=VideoLimits)
    batch: int = 4
    prefetch: int = 8


class DetectionPipeline:
    """Detects on video files with one bundle. Holds no state between runs; safe for several threads."""

    def __init__(self, bundle: LoadedBundle, options: PipelineOptions | None = None) -> None:
        self.bundle = bundle
        self.options = options or PipelineOptions()

    def check(self, params: DetectParams) -> None:
        """Refuse what the bundle does not have, before any work.

        Raises:
            ParameterError: an unknown class, or more detections than the sequence engine gives.
        """
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
        self, path: Path, params: DetectParams, *, stopped: Callable[[], bool] = lambda: False
    ) -> Generator[VideoRecord | FrameRecord | SummaryRecord, None, None]:
        """Detect on a video file.

        Args:
            path: the file.
            params: what was asked for.
            stopped: asked before every engine call; once it is true, the records end there, without a
                summary. A generator cannot be closed while it works, and the reference frames are run before
                the first record.

        Yields:
            One `VideoRecord`, a `FrameRecord` per selected frame in order, one `SummaryRecord`. Closing the
            generator stops decoding and inference after the call in hand.

        Raises:
            ParameterError: a parameter that does not fit the bundle or the video.
            VideoError: no video, over a limit, or not decodable.
            EngineFailureError: an engine failed.
        """
        self.check(params)
        return _Run(self.bundle, self.options, path, params, stopped).records()


class _Run:
    """One video's way through the pipeline."""

    def __init__(
        self,
        bundle: LoadedBundle,
        options: PipelineOptions,
        path: Path,
        params: DetectParams,
        stopped: Callable[[], bool],
    ) -> None:
        self.stopped = stopped
        self.bundle = bundle
        self.options = options
        self.path = path
        self.params = params
        self.clock = Stopwatch(PARTS)
        self.inference = Inference(bundle.engines, self.clock)
        self.filter = DetectionFilter(params, bundle.manifest.classes)
        self.corrupt = 0
        self.emitted = 0

    def records(self) -> Generator[VideoRecord | FrameRecord | SummaryRecord, None, None]:
        with self.clock("index"):
            index = index_video(self.path, self.options.limits)
        selection = select_frames(index, self.params, self.bundle.manifest.reference_frames)
        if self.params.mode == "sequence":
            bank = self._sequence_bank(index, selection.references)
            if self.stopped():
                return
            yield self._video(index, bank.used)
            yield from self._sequence(index, selection, bank)
        else:
            yield self._video(index, ())
            yield from self._online(index, selection)
        if self.stopped():
            return
        if self.emitted == 0:
            count = len(selection.keys)
            raise VideoError("undecodable", f"None of the {count} selected frames can be decoded.")
        yield self._summary(index, selection)

    def _sequence_bank(self, index: VideoIndex, references: Sequence[int]) -> SequenceBank:
        bank = SequenceBank(self.bundle.engines.dimensions, references)
        with self._frames(index, bank.wanted) as frames:
            for batch, _ in self._batches(frames):
                features = self.inference.frames([frame.prepared for frame in batch])
                for frame, known in zip(batch, features, strict=True):
                    bank.add(frame.index, known)
        return bank

    def _sequence(
        self, index: VideoIndex, selection: Selection, bank: SequenceBank
    ) -> Generator[FrameRecord, None, None]:
        with self._frames(index, selection.keys) as frames:
            for batch, corrupt in self._batches(frames):
                self.corrupt += corrupt
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

    def _online(self, index: VideoIndex, selection: Selection) -> Generator[FrameRecord, None, None]:
        bank = self._online_bank()
        with self._frames(index, selection.keys) as frames:
            for batch, corrupt in self._batches(frames):
                self.corrupt += corrupt
                # The frame engine may run ahead; a frame's detections see the bank as it was at that frame.
                features = self.inference.frames([frame.prepared for frame in batch])
                for frame, known in zip(batch, features, strict=True):
                    bank.before(self.emitted, known)
                    detections = self.inference.sequence([frame.prepared], [known], bank.bank)
                    bank.after(self.emitted, known)
                    yield self._record(frame, detections, 0)

    def _online_bank(self) -> OnlineBank:
        asked, dims = self.params.reference_frames, self.bundle.engines.dimensions
        if self.params.bank == "first":
            return FirstFrameBank(dims, FIRST_FRAME_COPIES if asked is None else asked)
        return SpreadBank(dims, self.bundle.manifest.reference_frames if asked is None else asked)

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
        return FrameRecord(
            index=frame.index, pts=frame.pts, time=frame.time, detections=self.filter(detections, position)
        )

    def _video(self, index: VideoIndex, references: tuple[int, ...]) -> VideoRecord:
        manifest, info = self.bundle.manifest, self.bundle.engines.info
        return VideoRecord(
            width=index.width,
            height=index.height,
            frame_count=len(index.pts),
            duration=index.duration,
            average_rate=None if index.average_rate is None else _ratio(index.average_rate),
            time_base=_ratio(index.time_base),
            codec=index.codec,
            rotation=index.rotation,
            model=ModelInfo(
                name=manifest.name,
                bundle=self.bundle.digest,
                provider=info.provider,
                precision=info.precision,
                classes=manifest.classes,
            ),
            mode=self.params.mode,
            reference_frames=references,
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


def _ratio(value: Fraction) -> str:
    """Always with a denominator: 25/1, not 25."""
    return f"{value.numerator}/{value.denominator}"

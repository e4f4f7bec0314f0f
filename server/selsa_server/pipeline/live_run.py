"""Detection on one live stream: frames as they arrive, records as they become final."""

from collections.abc import Generator
from dataclasses import dataclass

from selsa_bundle.engine import FrameBatch
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.decoders.protocol import FrameSource, LiveOrder
from selsa_server.errors import VideoError
from selsa_server.pipeline.calls import CALLS, in_order
from selsa_server.pipeline.frame_records import FrameRecords
from selsa_server.pipeline.inference import Inference, Repeats
from selsa_server.pipeline.online import OnlineDetection
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.prefetch import Prefetch
from selsa_server.pipeline.video_record import fraction_text, model_info
from selsa_server.run_context import RunContext
from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema.stream import StreamStart
from selsa_server.video.container import NO_FRAMES
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.live.container import LiveCounts, LiveHead, LiveOptions
from selsa_server.video.live.frames import PreparedLiveItem
from selsa_server.video.live.input import LiveInput
from selsa_server.video.prepared import TimedFrame

PARTS = ("decode", "prepare", "frame_engine", "sequence_engine")


@dataclass(slots=True)
class LiveRun:
    """Detects on incoming frames; call `records` once, in a thread that may wait.

    Attributes:
        pipeline: has the bundle and the batch sizes.
        start: the client's parameters.
        source: the client's data; aborted when the run ends, however it ends.
        run: cancellation and timings; once it is stopped, the records end.
        corrupt: frames that cannot be decoded.
        saved: decoded frames without a record when the run was stopped.
        dropped: frames left out because the engines were too slow.
    """

    pipeline: DetectionPipeline
    start: StreamStart
    source: LiveInput
    run: RunContext
    corrupt: int = 0
    saved: int = 0
    dropped: int = 0

    def records(self) -> Generator[VideoRecord | FrameRecord | SummaryRecord, None, None]:
        """One video record, a frame record for every frame that is not left out, one summary.

        Raises:
            VideoError: no such container, over a limit, or a frame that does not decode.
            EngineFailureError: an engine failed.
        """
        bundle, options = self.pipeline.bundle, self.pipeline.options
        counts = LiveCounts()
        for part in PARTS:
            self.run.clock.add(part, 0.0)
        source = self._frames(counts)
        droppable = _is_frame if self.start.drop == "oldest" else None
        detection = _Detection(bundle, self.start, self.run)
        with Prefetch(
            source.items,
            options.prefetch,
            droppable=droppable,
            interrupt=source.interrupt,
            stopped=self.run.stopped,
        ) as feed:
            try:
                while not self.run.stopped() and (taken := feed.take(options.batch)):
                    yield from detection.detect(taken)
            finally:
                self.corrupt, self.dropped = detection.corrupt, feed.dropped
                self.saved = detection.left + len(feed)
                # The prefetch thread may be waiting for a client that sends nothing.
                self.source.abort()
        if self.run.stopped():
            return
        if counts.seen == 0:
            raise VideoError("no_frames", NO_FRAMES)
        if detection.emitted == 0:
            raise VideoError("undecodable", "None of the stream's frames can be decoded.")
        yield detection.summary(counts, self.dropped)

    def _frames(self, counts: LiveCounts) -> FrameSource[PreparedLiveItem]:
        options = LiveOptions(
            limits=self.pipeline.options.limits,
            tolerant=self.start.decode == "tolerant",
            stride=self.start.stride,
        )
        preprocess = self.pipeline.bundle.manifest.preprocess
        decoders = self.pipeline.decoders
        order = LiveOrder(container=self.start.container, options=options, preprocess=preprocess)
        return decoders.live(self.source, order, self.run, counts)


class _Detection:
    """Frames in, records out; counts them."""

    def __init__(self, bundle: LoadedBundle, params: StreamStart, run: RunContext) -> None:
        self._bundle = bundle
        self._clock = run.clock
        self._stopped = run.stopped
        self._rescored = params.rescore
        self._inference = Inference(bundle.engines, run.clock)
        self._online = OnlineDetection(bundle, params, self._inference)
        self._repeats = Repeats()
        self._last: list[FrameBatch] = []
        self._records = FrameRecords(bundle, params, run.clock)
        self.corrupt = 0
        self.left = 0  # frames of the current batch without a record
        self.emitted = 0

    def detect(self, items: list[PreparedLiveItem]) -> Generator[VideoRecord | FrameRecord, None, None]:
        for head in (item for item in items if isinstance(item, LiveHead)):
            yield self._video(head)
        self.corrupt += sum(isinstance(item, CorruptFrame) for item in items)
        frames = [item for item in items if isinstance(item, TimedFrame)]
        self.left = len(frames)
        prepared = [frame.prepared for frame in frames]
        features = self._features(prepared)
        each = self._online.detect(prepared, features)
        for frame, known, found in zip(frames, features, each, strict=True):
            self.emitted += 1
            self.left -= 1
            yield from self._records.add(frame, known, found, 0)

    def _features(self, frames: list[PreparedFrame]) -> list[FrameBatch]:
        new, places = self._repeats.places(frames)
        each = max(1, -(-len(new) // CALLS))
        parts = [[frames[i] for i in new[start : start + each]] for start in range(0, len(new), each)]
        computed: list[FrameBatch] = []
        for _, found in in_order(parts, self._inference.frames, CALLS, self._stopped):
            computed += found
        features = [computed[place] if place >= 0 else self._last[0] for place in places]
        self._last = features[-1:] or self._last
        return features

    def summary(self, counts: LiveCounts, dropped: int) -> SummaryRecord:
        objects = self._records.summary()
        return SummaryRecord(
            complete=self.corrupt == 0 and dropped == 0 and not counts.cut_off,
            demuxed=counts.seen,
            decoded=counts.seen - self.corrupt,
            corrupt=self.corrupt,
            skipped=counts.skipped + dropped,
            emitted=self.emitted,
            clock_jumps=counts.clock_jumps,
            seconds=self._clock.elapsed,
            timings=self._clock.parts,
            **objects,
        )

    def _video(self, head: LiveHead) -> VideoRecord:
        return VideoRecord(
            width=head.width,
            height=head.height,
            frame_count=None,
            duration=None,
            average_rate=None if head.average_rate is None else fraction_text(head.average_rate),
            time_base=fraction_text(head.time_base),
            codec=head.codec,
            rotation=head.orientation.rotation,
            mirrored=head.orientation.mirrored,
            sample_aspect_ratio=fraction_text(head.sample_aspect_ratio),
            model=model_info(self._bundle),
            mode="online",
            reference_frames=(),
            look_ahead=self._records.look_ahead,
            rescored=self._rescored,
        )


def _is_frame(item: PreparedLiveItem) -> bool:
    return isinstance(item, TimedFrame)

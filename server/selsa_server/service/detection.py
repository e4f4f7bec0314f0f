"""One run of the pipeline, driven from the event loop: each record is computed in a worker thread."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from selsa_server.decoders.protocol import DecoderStoppedError, OpenVideo
from selsa_server.engines.batching import BatchingEngines, CallDroppedError, CallerEngines
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.service.admission import Admission, Place
from selsa_server.telemetry.metrics import Metrics
from selsa_server.telemetry.request_timings import note_timings
from selsa_server.video.index import VideoIndex
from selsa_server.video.selection import select_frames

T = TypeVar("T")
Result = VideoRecord | FrameRecord | SummaryRecord


@dataclass(slots=True)
class _Account:
    """When a request's detection began, and where its time went before the pipeline ran."""

    begun: float = field(default_factory=time.perf_counter)
    index: float = 0.0
    turn: float = 0.0


class Records:
    """The records of one video as an async iterator. One thread at a time works on it.

    Attributes:
        index: what pass 1 learned of the video.
        summary: the last record, once it is there.
    """

    def __init__(
        self,
        records: Generator[Result, None, None],
        threads: anyio.CapacityLimiter,
        engines: CallerEngines,
        account: _Account,
        index: VideoIndex,
    ) -> None:
        self._records = records
        self._threads = threads
        self._engines = engines
        self._account = account
        self.index = index
        self.summary: SummaryRecord | None = None

    def __aiter__(self) -> "Records":
        return self

    async def __anext__(self) -> Result:
        # Not abandoned on cancellation: the generator must not run while it is closed. It asks `is_cancelled`
        # instead, before every engine call and while one waits.
        try:
            record = await anyio.to_thread.run_sync(next, self._records, None, limiter=self._threads)
        except CallDroppedError:
            record = None
        if record is None:
            # Where it ended because the task is cancelled, this says so.
            await anyio.lowlevel.checkpoint()
            raise StopAsyncIteration
        if isinstance(record, SummaryRecord):
            record = self.summary = self._with_waiting(record)
        return record

    async def aclose(self) -> None:
        """Stop the pipeline's work on this video."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._records.close, limiter=self._threads)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds per part so far; all parts once the summary is there."""
        if self.summary is not None:
            return self.summary.timings
        account = self._account
        queue = sum(self._engines.waited.values())
        return {"index": account.index, "turn": account.turn, "queue": queue}

    def _with_waiting(self, summary: SummaryRecord) -> SummaryRecord:
        """The engines' seconds without the waiting in their queue, which is a part of its own."""
        waited = self._engines.waited
        timings = {
            part: round(max(0.0, seconds - waited.get(part, 0.0)), 6)
            for part, seconds in summary.timings.items()
        }
        timings |= {
            "index": round(self._account.index, 6),
            "turn": round(self._account.turn, 6),
            "queue": round(sum(waited.values()), 6),
        }
        seconds = round(time.perf_counter() - self._account.begun, 6)
        return summary.model_copy(update={"timings": timings, "seconds": seconds})


def is_cancelled() -> bool:
    """Whether the task that waits for this worker thread was cancelled. To be asked in such a thread."""
    try:
        anyio.from_thread.check_cancelled()
    except asyncio.CancelledError:
        return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionService:
    """Detection for many requests at once.

    Attributes:
        pipeline: what detects, on the shared engines.
        engines: the engines that all requests share.
        admission: who may detect when.
        metrics: what became of the frames is counted here.
    """

    pipeline: DetectionPipeline
    engines: BatchingEngines
    admission: Admission
    metrics: Metrics

    @asynccontextmanager
    async def detecting(self, path: Path, params: DetectParams, place: Place) -> AsyncIterator[Records]:
        """Learn how much work a video is, wait for a turn, then detect; leaving the context stops the work.

        Raises:
            ParameterError: no frame is selected.
            VideoError: no video, or over a limit.
            DecoderError: the decoder failed on it.
            OverloadError: too much work waits already.
        """
        account = _Account()
        async with self._opened(path) as video:
            account.index = time.perf_counter() - account.begun
            self.admission.accept(place, self._work(video.index, params))
            if self.admission.full:
                await anyio.to_thread.run_sync(video.rest)
            async with self.admission.turn(place):
                account.turn = time.perf_counter() - account.begun - account.index
                pipeline, caller = self.for_caller(is_cancelled)
                generator = pipeline.run(
                    path, params, stopped=is_cancelled, progress=place.progress, video=video
                )
                records = Records(generator, self.admission.threads, caller, account, video.index)
                try:
                    yield records
                finally:
                    await records.aclose()
                    self._count(records, place)
                    note_timings(account.begun, records.timings)

    @asynccontextmanager
    async def _opened(self, path: Path) -> AsyncIterator[OpenVideo]:
        """The video, as long as the context lasts."""
        pipeline = self.pipeline
        preprocess, limits = pipeline.bundle.manifest.preprocess, pipeline.options.limits
        video = await in_thread(
            lambda: pipeline.decoders.open(path, limits, preprocess, stopped=is_cancelled),
            self.admission.index_threads,
        )
        try:
            yield video
        finally:
            if not video.resting:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(video.rest)

    def for_caller(self, stopped: Callable[[], bool]) -> tuple[DetectionPipeline, CallerEngines]:
        """The pipeline as one caller has it, and its engines, which keep account of the caller's waiting.

        Once `stopped`, a call that waits leaves the queue, and `CallDroppedError` comes out of the pipeline.
        """
        caller = self.engines.caller(stopped)
        bundle = replace(self.pipeline.bundle, engines=caller)
        return DetectionPipeline(bundle, self.pipeline.options, self.pipeline.decoders), caller

    def _work(self, index: VideoIndex, params: DetectParams) -> float:
        """Video-seconds that the selected frames are."""
        selection = select_frames(index, params, self.pipeline.bundle.manifest.reference_frames)
        return index.duration * len(selection.keys) / len(index)

    def _count(self, records: Records, place: Place) -> None:
        progress = place.progress
        corrupt = 0 if records.summary is None else records.summary.corrupt
        self.metrics.frames("detect", emitted=progress.done - corrupt, corrupt=corrupt, saved=progress.left)


async def in_thread(work: Callable[[], T], threads: anyio.CapacityLimiter) -> T:
    """The result of `work`, which may wait for a decoder and asks `is_cancelled` meanwhile.

    Raises:
        Exception: whatever it raises, but for DecoderStoppedError where the task is cancelled.
    """
    try:
        return await anyio.to_thread.run_sync(work, limiter=threads)
    except DecoderStoppedError:
        await anyio.lowlevel.checkpoint()
        raise

"""One run of the pipeline, driven from the event loop: each record is computed in a worker thread."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from selsa_server.engines.batching import QUEUE, BatchingEngines
from selsa_server.pipeline.pipeline import DetectionPipeline, SelectedVideo
from selsa_server.run_context import Progress, RunContext, StoppedError
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.service.admission import Admission, Place
from selsa_server.telemetry.metrics import Metrics
from selsa_server.video.index import VideoIndex

T = TypeVar("T")
Result = VideoRecord | FrameRecord | SummaryRecord
GivenRecords = Callable[[int, Progress], Generator[Result, None, None]]
# Parts of a request's time that are complete before its first frame record.
EARLY_PARTS: Final = ("index", "turn", QUEUE)


class Records:
    """The records of one video as an async iterator. One thread at a time works on it.

    Attributes:
        index: frames and times of the video.
        run: the run that computes the records.
        summary: the last record, once it was returned.
    """

    def __init__(
        self,
        records: Generator[Result, None, None],
        threads: anyio.CapacityLimiter,
        run: RunContext,
        index: VideoIndex,
    ) -> None:
        self._records = records
        self._threads = threads
        self.run = run
        self.index = index
        self.summary: SummaryRecord | None = None

    def __aiter__(self) -> "Records":
        return self

    async def __anext__(self) -> Result:
        # Not abandoned on cancellation: the generator must not run while it is closed. Instead it
        # polls a `Cancellation`, before every engine call and while one waits.
        try:
            record = await anyio.to_thread.run_sync(next, self._records, None, limiter=self._threads)
        except StoppedError:
            record = None
        if record is None:
            # Raises if the records ended because the task was cancelled.
            await anyio.lowlevel.checkpoint()
            raise StopAsyncIteration
        if isinstance(record, SummaryRecord):
            self.summary = record
        return record

    async def aclose(self) -> None:
        """Stop the pipeline's work on this video."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._records.close, limiter=self._threads)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds per part: the early parts, and all parts after the summary."""
        if self.summary is not None:
            return self.summary.timings
        parts = self.run.clock.parts
        return {part: parts.get(part, 0.0) for part in EARLY_PARTS}


class Cancellation:
    """Whether the task that waits for a worker thread of AnyIO was cancelled.

    Any thread may ask. Only that worker thread can see it, and tells the others when it next asks itself.
    """

    def __init__(self) -> None:
        self._seen = False

    def __call__(self) -> bool:
        """True once the task was cancelled and its worker thread has asked."""
        if not self._seen:
            # RuntimeError: this is another thread.
            with suppress(RuntimeError):
                try:
                    anyio.from_thread.check_cancelled()
                except asyncio.CancelledError:
                    self._seen = True
        return self._seen


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionService:
    """Detection for many requests at once.

    Attributes:
        pipeline: detects, on the shared engines.
        admission: bounds the requests that detect and wait.
        metrics: counts frames by outcome.
    """

    pipeline: DetectionPipeline
    engines: BatchingEngines
    admission: Admission
    metrics: Metrics

    @asynccontextmanager
    async def detecting(
        self, path: Path, params: DetectParams, place: Place, given: GivenRecords | None = None
    ) -> AsyncIterator[Records]:
        """Index a video, wait for a turn, then detect; leaving the context stops the work.

        Args:
            place: the request's place; its progress is counted.
            given: makes the records, from the number of frames; the engines are then not called.

        Raises:
            ParameterError: no frame is selected.
            VideoError: no video, or over a limit.
            DecoderError: the decoder failed on it.
            OverloadError: too much work waits already.
        """
        run = RunContext(stopped=Cancellation(), progress=place.progress)
        async with self._opened(path, params, run) as selected:
            self.admission.accept(place, selected.duration)
            if self.admission.full:
                await anyio.to_thread.run_sync(selected.video.release)
            asked = time.perf_counter()
            async with self.admission.turn(place):
                run.clock.add("turn", time.perf_counter() - asked)
                if given is None:
                    generator = self.for_run(run).detect(selected, params, run)
                else:
                    generator = given(len(selected.video.index), run.progress)
                records = Records(generator, self.admission.threads, run, selected.video.index)
                try:
                    yield records
                finally:
                    await records.aclose()
                    if given is None:
                        self._count(records, place)

    @asynccontextmanager
    async def _opened(
        self, path: Path, params: DetectParams, run: RunContext
    ) -> AsyncIterator[SelectedVideo]:
        """The video, open until the context is left."""
        selected = await in_thread(
            lambda: self.pipeline.open(path, params, run), self.admission.index_threads
        )
        video = selected.video
        try:
            yield selected
        finally:
            if not video.released:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(video.release)

    def for_run(self, run: RunContext) -> DetectionPipeline:
        """The pipeline for one run, whose clock counts the waiting of its engine calls.

        Once the run is stopped, a call that waits leaves the queue, and the pipeline raises `StoppedError`.
        """
        bundle = replace(self.pipeline.bundle, engines=self.engines.caller(run))
        return DetectionPipeline(bundle, self.pipeline.options, self.pipeline.decoders)

    def _count(self, records: Records, place: Place) -> None:
        progress = place.progress
        corrupt = 0 if records.summary is None else records.summary.corrupt
        self.metrics.frames("detect", emitted=progress.done - corrupt, corrupt=corrupt, saved=progress.left)


async def in_thread(work: Callable[[], T], threads: anyio.CapacityLimiter) -> T:
    """Run `work` in a thread. It may wait for a decoder and polls its `Cancellation` meanwhile.

    Raises:
        Exception: as `work` does, except for StoppedError if the task is cancelled.
    """
    try:
        return await anyio.to_thread.run_sync(work, limiter=threads)
    except StoppedError:
        await anyio.lowlevel.checkpoint()
        raise

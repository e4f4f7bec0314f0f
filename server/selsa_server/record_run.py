"""One run of the pipeline, driven from the event loop: each record is computed in a worker thread."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from selsa_server.admission import Admission
from selsa_server.pipeline import DetectionPipeline
from selsa_server.schema import DetectParams, FrameRecord, SummaryRecord, VideoRecord

__all__ = ["Records", "detecting", "unless_disconnected"]

T = TypeVar("T")
Result = VideoRecord | FrameRecord | SummaryRecord


class Records:
    """The records of one video as an async iterator. One thread at a time works on it."""

    def __init__(self, records: Generator[Result, None, None], threads: anyio.CapacityLimiter) -> None:
        self._records = records
        self._threads = threads

    def __aiter__(self) -> "Records":
        return self

    async def __anext__(self) -> Result:
        # Not abandoned on cancellation: the generator must not run while it is closed. It asks `is_cancelled`
        # instead, before every engine call.
        record = await anyio.to_thread.run_sync(next, self._records, None, limiter=self._threads)
        if record is None:
            raise StopAsyncIteration
        return record

    async def aclose(self) -> None:
        """Stop the pipeline's work on this video."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._records.close, limiter=self._threads)


def is_cancelled() -> bool:
    """Whether the task that waits for this worker thread was cancelled. To be asked in such a thread."""
    try:
        anyio.from_thread.check_cancelled()
    except asyncio.CancelledError:
        return True
    return False


@asynccontextmanager
async def detecting(
    pipeline: DetectionPipeline, path: Path, params: DetectParams, admission: Admission
) -> AsyncIterator[Records]:
    """Wait for a turn, then detect; leaving the context stops the work."""
    async with admission.turn():
        records = Records(pipeline.run(path, params, stopped=is_cancelled), admission.threads)
        try:
            yield records
        finally:
            await records.aclose()


async def unless_disconnected(receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`, which is cancelled when the client goes away. The body must have been read.

    Raises:
        ClientDisconnect: it went away.
    """
    results: list[T] = []
    failures: list[Exception] = []

    async def watch(scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(watch, group.cancel_scope)
        try:
            results.append(await work())
        except Exception as error:  # noqa: BLE001 - raised below, outside the group that would wrap it
            failures.append(error)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if not results:
        raise ClientDisconnect
    return results[0]

"""Jobs as clients see them: their state, their results as they grow, and events."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import anyio.to_thread

from selsa_server.errors import DetectError, OverloadError
from selsa_server.jobs.files import JobError, ResultsSource
from selsa_server.jobs.jobs import Jobs
from selsa_server.jobs.table import JobRow
from selsa_server.schema.detect import Problem
from selsa_server.schema.jobs import Job, JobProgress
from selsa_server.schema.problems import error_record

# Proxies close connections that are silent for a minute.
KEEP_ALIVE_SECONDS: Final = 15.0


def job_view(row: JobRow, ttl: float, now: float) -> Job:
    """The job of the wire format.

    Args:
        row: the job.
        ttl: seconds from its end until it is deleted.
        now: seconds since the epoch.
    """
    return Job(
        id=row.id,
        state=row.state,
        model=row.model,
        bundle=row.bundle,
        progress=JobProgress(done=row.done, total=row.total),
        created=datetime.fromtimestamp(row.created, UTC),
        started=_moment(row.started),
        ended=_moment(row.ended),
        estimated_end=_moment(_estimated_end(row, now)),
        expires=_moment(None if row.ended is None else row.ended + ttl),
        error=None if row.problem is None else Problem.model_validate_json(row.problem),
    )


def _estimated_end(row: JobRow, now: float) -> float | None:
    """Frames left at the speed of the frames of this run; None before its first one."""
    new = row.done - row.started_done
    if row.state != "running" or row.started is None or row.total is None or new <= 0:
        return None
    return now + (now - row.started) / new * (row.total - row.done)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


async def written_results(
    reader: ResultsSource, rename: Callable[[bytes], bytes] = lambda block: block
) -> AsyncGenerator[bytes, None]:
    """The records that are final now, as NDJSON, each block passed through `rename`; closes the reader."""
    try:
        while block := await anyio.to_thread.run_sync(reader.block):
            yield rename(block)
    finally:
        reader.close()


async def follow_results(jobs: Jobs, job_id: str, reader: ResultsSource) -> AsyncGenerator[bytes, None]:
    """The records as NDJSON until the job has ended; a cancelled job's last one is an error.

    If the server ends first, the last record is an error too; the job continues, earlier records are valid.
    Closes the reader.
    """
    done = 0
    try:
        async for row in jobs.changes(job_id, 0, KEEP_ALIVE_SECONDS):
            while block := await anyio.to_thread.run_sync(reader.block):
                yield block
            if row is None:
                continue
            done = row.done
            if row.state == "cancelled":
                yield _last(
                    JobError("job_cancelled", "The job was cancelled; its results are deleted."), done
                )
            if row.has_ended:
                return
        yield _last(OverloadError("The server is ending; ask again in a minute.", 60, code="draining"), done)
    except JobError as gone:
        yield _last(gone, done)
    finally:
        reader.close()


async def state_events(jobs: Jobs, job_id: str, after: int) -> AsyncGenerator[bytes, None]:
    """Server-sent events: `progress` with every change, `end` with the last one; the data is the job.

    Every event has the whole state, so a client that reconnects needs none of the missed events.
    """
    yield b"retry: 1000\n\n"
    with suppress(JobError):  # deleted meanwhile: the client's next request gets 404
        async for row in jobs.changes(job_id, after, KEEP_ALIVE_SECONDS):
            if row is None:
                yield b": still there\n\n"
                continue
            kind = "end" if row.has_ended else "progress"
            data = job_view(row, jobs.settings.jobs_ttl, time.time()).model_dump_json()
            yield f"id: {row.version}\nevent: {kind}\ndata: {data}\n\n".encode()


def _last(error: DetectError, emitted: int) -> bytes:
    return error_record(error, emitted).model_dump_json().encode() + b"\n"

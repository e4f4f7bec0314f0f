"""Jobs as clients follow them: their results as they grow, and events."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from selsa_server.errors import DetectError, OverloadError
from selsa_server.jobs.files import JobError, ResultsSource
from selsa_server.schema.problems import error_record

if TYPE_CHECKING:  # it imports SQLAlchemy
    from selsa_server.jobs.jobs import Jobs

# Proxies close connections that are silent for a minute.
KEEP_ALIVE_SECONDS: Final = 15.0


async def written_results(
    reader: ResultsSource, rename: Callable[[bytes], bytes] = lambda block: block
) -> AsyncGenerator[bytes, None]:
    """The records that are final now, as NDJSON, each block passed through `rename`; closes the reader."""
    try:
        while block := await anyio.to_thread.run_sync(reader.block):
            yield rename(block)
    finally:
        reader.close()


async def follow_results(jobs: "Jobs", job_id: str, reader: ResultsSource) -> AsyncGenerator[bytes, None]:
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


async def state_events(jobs: "Jobs", job_id: str, after: int) -> AsyncGenerator[bytes, None]:
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
            data = row.view(jobs.settings.jobs_ttl, time.time()).model_dump_json()
            yield f"id: {row.version}\nevent: {kind}\ndata: {data}\n\n".encode()


def _last(error: DetectError, emitted: int) -> bytes:
    return error_record(error, emitted).model_dump_json().encode() + b"\n"

"""Jobs of a server: `client.jobs`. Long videos, whose results wait for the client."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from typing import Unpack

from selsa_client.http.async_drivers import AsyncDriver
from selsa_client.http.drivers import Driver
from selsa_client.http.exchange import Asking, Program
from selsa_client.http.job_events import job_events
from selsa_client.http.job_requests import cancel_job, follow_job, get_job, read_job, submit_job
from selsa_client.http.patience import Patience, RetryPolicy
from selsa_client.http.protocol import DetectOptions
from selsa_client.http.upload import AsyncVideoSource, UploadProgress, UploadSource, VideoSource
from selsa_client.stream import AsyncDetectionStream, DetectionStream
from selsa_client.wire.errors import IncompleteError
from selsa_client.wire.records import RecordReader, StreamRecord
from selsa_server.schema.detect import DetectParams
from selsa_server.schema.jobs import Job


class Jobs:
    """`/v1/jobs` of a server. Every method raises `SelsaError`s as `Client.detect` does."""

    def __init__(self, driver: Driver, patience: Callable[[], Patience]) -> None:
        self._driver = driver
        self._patience = patience

    def submit(
        self,
        source: VideoSource,
        *,
        idempotency_key: str | None = None,
        on_upload: UploadProgress | None = None,
        **options: Unpack[DetectOptions],
    ) -> Job:
        """Send a video and come back at once. The same video with the same options is the same job.

        `idempotency_key` is your own name for the request instead; with another video it is refused.
        """
        return self._driver.ask(_submission(source, on_upload, self._patience(), idempotency_key, options))

    def get(self, job_id: str) -> Job:
        """How a job is now."""
        return self._driver.ask(get_job(job_id, self._patience()))

    def results(self, job_id: str, *, after: int = 0, follow: bool = True) -> DetectionStream:
        """The records of a job, without the first `after` ones, until it ends.

        A connection that breaks is made again, up to `retries` times without a record between. With
        `follow=False`: those that are final now; `stream.complete` tells whether that is all.
        """
        reader = RecordReader(after=after)
        return DetectionStream(self._driver.run(_reading(job_id, reader, self._patience(), follow)), reader)

    def events(self, job_id: str) -> Iterator[Job]:
        """The job after each change, until its end; without changes it waits."""
        return self._driver.run(job_events(job_id, self._patience()))

    def wait(self, job_id: str) -> Job:
        """The job when it has ended; its `state` says how."""
        last: Job | None = None
        with closing(self._driver.run(job_events(job_id, self._patience()))) as events:
            for last in events:  # noqa: B007 - the last one is what is asked for
                pass
        return _ended(last)

    def cancel(self, job_id: str) -> None:
        """Cancel a job that has not ended; forget one that has."""
        self._driver.ask(cancel_job(job_id, self._patience()))


class AsyncJobs:
    """`Jobs` for asynchronous code."""

    def __init__(self, driver: AsyncDriver, patience: Callable[[], Patience]) -> None:
        self._driver = driver
        self._patience = patience

    async def submit(
        self,
        source: AsyncVideoSource,
        *,
        idempotency_key: str | None = None,
        on_upload: UploadProgress | None = None,
        **options: Unpack[DetectOptions],
    ) -> Job:
        """As `Jobs.submit`."""
        program = _submission(source, on_upload, self._patience(), idempotency_key, options)
        return await self._driver.ask(program)

    async def get(self, job_id: str) -> Job:
        """As `Jobs.get`."""
        return await self._driver.ask(get_job(job_id, self._patience()))

    def results(self, job_id: str, *, after: int = 0, follow: bool = True) -> AsyncDetectionStream:
        """As `Jobs.results`."""
        reader = RecordReader(after=after)
        received = self._driver.run(_reading(job_id, reader, self._patience(), follow))
        return AsyncDetectionStream(received, reader)

    def events(self, job_id: str) -> AsyncIterator[Job]:
        """As `Jobs.events`."""
        return self._driver.run(job_events(job_id, self._patience()))

    async def wait(self, job_id: str) -> Job:
        """As `Jobs.wait`."""
        last: Job | None = None
        async with aclosing(self._driver.run(job_events(job_id, self._patience()))) as events:
            async for last in events:  # noqa: B007 - the last one is what is asked for
                pass
        return _ended(last)

    async def cancel(self, job_id: str) -> None:
        """As `Jobs.cancel`."""
        await self._driver.ask(cancel_job(job_id, self._patience()))


def _submission(
    source: AsyncVideoSource,
    on_upload: UploadProgress | None,
    patience: Patience,
    key: str | None,
    options: DetectOptions,
) -> Asking[Job]:
    params = DetectParams.model_validate(options)
    upload = UploadSource(source, on_upload)
    # What cannot be read twice is sent once.
    allowed = patience if upload.repeatable else Patience(RetryPolicy())
    return submit_job(upload, params, allowed, key)


def _reading(
    job_id: str,
    reader: RecordReader,
    patience: Patience,
    follow: bool,  # noqa: FBT001 - of a keyword of the same name
) -> Program[StreamRecord]:
    return (follow_job if follow else read_job)(job_id, reader, patience)


def _ended(job: Job | None) -> Job:
    if job is None:
        raise IncompleteError("The server told nothing of the job", emitted=0)
    return job

"""Jobs of a server: `client.jobs`. Long videos, whose results the server keeps."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Unpack

from selsa_client.http.asking import ask, parsed
from selsa_client.http.job_requests import follow_job, job_events, job_path, read_job, submit_job
from selsa_client.http.link import Call, Http, Request, iterate, run
from selsa_client.http.protocol import JobOptions
from selsa_client.http.upload import AsyncVideoSource, UploadProgress, UploadSource, VideoSource
from selsa_client.stream import AsyncDetectionStream, DetectionStream
from selsa_client.wire.errors import IncompleteError
from selsa_client.wire.records import RecordReader
from selsa_server.schema.jobs import Job, JobParams, VideoAddress


class AsyncJobs:
    """`Jobs` for asynchronous code."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def submit(
        self,
        source: AsyncVideoSource,
        *,
        idempotency_key: str | None = None,
        on_upload: UploadProgress | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """As `Jobs.submit`."""
        params = JobParams.model_validate(options)
        upload = UploadSource(source, on_upload)
        call = Call(self._http, repeatable=upload.repeatable)
        return await submit_job(call, upload, params, idempotency_key)

    async def submit_url(
        self, url: str, *, idempotency_key: str | None = None, **options: Unpack[JobOptions]
    ) -> Job:
        """As `Jobs.submit_url`."""
        params = JobParams.model_validate(options)
        return await submit_job(Call(self._http), VideoAddress(url=url), params, idempotency_key)

    async def get(self, job_id: str) -> Job:
        """As `Jobs.get`."""
        answer = await ask(Call(self._http), Request(method="GET", path=job_path(job_id)))
        return parsed(Job, answer.body)

    def results(self, job_id: str, *, after: int = 0, follow: bool = True) -> AsyncDetectionStream:
        """As `Jobs.results`."""
        reader = RecordReader(after=after)
        read = follow_job if follow else read_job
        return AsyncDetectionStream(read(Call(self._http), job_id, reader), reader)

    def events(self, job_id: str) -> AsyncGenerator[Job, None]:
        """As `Jobs.events`."""
        return job_events(Call(self._http), job_id)

    async def wait(self, job_id: str) -> Job:
        """As `Jobs.wait`."""
        last: Job | None = None
        async with aclosing(self.events(job_id)) as events:
            async for job in events:
                last = job
        if last is None:
            raise IncompleteError("The server sent no state of the job", emitted=0)
        return last

    async def cancel(self, job_id: str) -> None:
        """As `Jobs.cancel`."""
        request = Request(method="DELETE", path=job_path(job_id))
        await ask(Call(self._http), request, allowed=(HTTPStatus.NO_CONTENT,), idempotent=False)


class Jobs:
    """`/v1/jobs` of a server. Every method raises `SelsaError`s as `Client.detect` does.

    Example:
        job = client.jobs.submit("video.mp4")
        frames = list(client.jobs.results(job.id))
    """

    def __init__(self, jobs: AsyncJobs) -> None:
        self._jobs = jobs

    def submit(
        self,
        source: VideoSource,
        *,
        idempotency_key: str | None = None,
        on_upload: UploadProgress | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Send a video and return at once. The same video with the same options gives the same job.

        `idempotency_key` identifies the request instead of the video and options; using it for another video
        is an error. `options` are the fields of `JobParams`: those of `Client.detect`, and `webhook`, an
        address that gets a signed message when the job has ended.
        """
        job = self._jobs.submit(source, idempotency_key=idempotency_key, on_upload=on_upload, **options)
        return run(job)

    def submit_url(
        self, url: str, *, idempotency_key: str | None = None, **options: Unpack[JobOptions]
    ) -> Job:
        """Let the server download a video or a finished HLS playlist, and return at once.

        The server must allow the address's host (`remote_hosts`). Each call is a new job, unless
        `idempotency_key` is that of an earlier one with the same address and options.

        Raises:
            RejectedError: the address is not allowed (403 `url_not_allowed`).

        Example:
            job = client.jobs.submit_url("https://videos.example/street.mp4", stride=2)
        """
        return run(self._jobs.submit_url(url, idempotency_key=idempotency_key, **options))

    def get(self, job_id: str) -> Job:
        """The current state of a job."""
        return run(self._jobs.get(job_id))

    def results(self, job_id: str, *, after: int = 0, follow: bool = True) -> DetectionStream:
        """The records of a job, without the first `after` ones, until it ends.

        After a break it reconnects; `retries` counts attempts without a record in between. With
        `follow=False`: only the records that are final now; `stream.complete` tells whether these are all.
        """
        return DetectionStream(self._jobs.results(job_id, after=after, follow=follow))

    def events(self, job_id: str) -> Iterator[Job]:
        """The job after each change, until its end."""
        return iterate(self._jobs.events(job_id))

    def wait(self, job_id: str) -> Job:
        """Wait for the end of a job and return it; its `state` tells the outcome."""
        return run(self._jobs.wait(job_id))

    def cancel(self, job_id: str) -> None:
        """Cancel a running job; delete one that has ended."""
        run(self._jobs.cancel(job_id))

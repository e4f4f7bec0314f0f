"""Opening and closing the jobs with the server: where they are, and what the last server left."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread
import structlog

from selsa_server.jobs.files import JobError, JobsPlaceError
from selsa_server.jobs.intake import JobsOptions
from selsa_server.jobs.jobs import Jobs
from selsa_server.jobs.place import JobsPlace, open_place
from selsa_server.service.models import Models
from selsa_server.settings import ServerSettings
from selsa_server.telemetry.metrics import Metrics


class JobsService:
    """The jobs of a server, there while it runs.

    Args:
        models: what detects.
        open_place: opens the place where the jobs are; raises `JobsPlaceError`.
        options: their bounds.
        required: a place that cannot be used ends the server; otherwise it serves without jobs and says so.
    """

    def __init__(
        self,
        models: Models,
        open_place: Callable[[], JobsPlace],
        options: JobsOptions,
        metrics: Metrics,
        *,
        required: bool,
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._open_place = open_place
        self._options = options
        self._required = required
        self._jobs: Jobs | None = None
        self._reason = "The server is not running yet."

    @property
    def jobs(self) -> Jobs:
        """The jobs.

        Raises:
            JobError: there are none on this server.
        """
        if self._jobs is None:
            raise JobError("jobs_unavailable", self._reason)
        return self._jobs

    def stop(self) -> None:
        """End the work within one batch, and the streams that tell of it. To be called once it drains."""
        if self._jobs is not None:
            self._jobs.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work on jobs as long as the context lasts; those that have not ended go on the next time.

        Raises:
            JobsPlaceError: the place is required and cannot be used.
        """
        try:
            place = await anyio.to_thread.run_sync(self._open_place)
        except JobsPlaceError as error:
            if self._required:
                raise
            structlog.get_logger().warning("no jobs", reason=str(error))
            self._reason = "This server takes no jobs, its log says why; use /detect."
            yield
            return
        try:
            async with self._working(place):
                yield
        finally:
            await anyio.to_thread.run_sync(place.close)

    @asynccontextmanager
    async def _working(self, place: JobsPlace) -> AsyncIterator[None]:
        store, files = place.store, place.files
        # Alone, what runs by the books was the last server's, which is gone.
        await anyio.to_thread.run_sync(partial(store.requeue_running, crashed=True))
        await anyio.to_thread.run_sync(lambda: files.sweep(store.ids()))
        async with anyio.create_task_group() as group:
            self._jobs = jobs = Jobs(self._models, files, store, self._options, self._metrics)
            jobs.start(group)
            try:
                yield
            finally:
                self._jobs, self._reason = None, "The server is ending."
                jobs.stop()
                group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(store.requeue_running, crashed=False))


def build_jobs(models: Models, settings: ServerSettings, metrics: Metrics) -> JobsService:
    """The jobs that the settings ask for."""
    options = JobsOptions(
        concurrent=settings.jobs_concurrent,
        max_queued=settings.jobs_max_queued,
        max_bytes=settings.jobs_max_bytes,
        ttl=settings.jobs_ttl,
        lease=None if settings.jobs_database is None else settings.jobs_lease,
    )
    # Two servers may well share the folder for temporary files; a place that was named is meant.
    named = settings.jobs_dir is not None or settings.jobs_database is not None
    return JobsService(models, partial(open_place, settings), options, metrics, required=named)

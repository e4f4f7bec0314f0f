"""Opening and closing the jobs with the server: the folder, its lock, and what the last server left."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from selsa_server.errors import JobError
from selsa_server.jobs import Jobs
from selsa_server.jobs_folder import JobsFolder, JobsFolderError
from selsa_server.jobs_intake import JobsOptions
from selsa_server.jobs_store import JobStore
from selsa_server.metrics import Metrics
from selsa_server.models import Models
from selsa_server.settings import ServerSettings

__all__ = ["JobsService", "build_jobs"]


class JobsService:
    """The jobs of a server, there while it runs.

    Args:
        models: what detects.
        path: the folder of the jobs.
        options: their bounds.
        required: a folder that cannot be used ends the server; otherwise it serves without jobs and says so.
    """

    def __init__(
        self, models: Models, path: Path, options: JobsOptions, metrics: Metrics, *, required: bool
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._path = path
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
            JobsFolderError: the folder is required and cannot be used.
        """
        try:
            folder = JobsFolder(self._path)
        except JobsFolderError as error:
            if self._required:
                raise
            structlog.get_logger().warning("no jobs", reason=str(error))
            self._reason = "This server takes no jobs, its log says why; use /detect."
            yield
            return
        try:
            async with self._working(folder):
                yield
        finally:
            folder.close()

    @asynccontextmanager
    async def _working(self, folder: JobsFolder) -> AsyncIterator[None]:
        store = await anyio.to_thread.run_sync(JobStore, folder.database)
        try:
            store.requeue_running(crashed=True)
            folder.sweep(store.ids())
            async with anyio.create_task_group() as group:
                self._jobs = jobs = Jobs(self._models, folder, store, self._options, self._metrics)
                jobs.start(group)
                try:
                    yield
                finally:
                    self._jobs, self._reason = None, "The server is ending."
                    jobs.stop()
                    group.cancel_scope.cancel()
            store.requeue_running(crashed=False)
        finally:
            store.close()


def build_jobs(models: Models, settings: ServerSettings, metrics: Metrics) -> JobsService:
    """The jobs that the settings ask for."""
    options = JobsOptions(
        concurrent=settings.jobs_concurrent,
        max_queued=settings.jobs_max_queued,
        max_bytes=settings.jobs_max_bytes,
        ttl=settings.jobs_ttl,
    )
    # Two servers may well share the folder for temporary files; a folder that was named is meant.
    path = settings.jobs_dir or settings.spool_dir / "selsa-jobs"
    return JobsService(models, path, options, metrics, required=settings.jobs_dir is not None)

"""Opening and closing the jobs with the server, and the recovery of jobs of the previous process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread
import structlog

from selsa_server.jobs.files import JobError, JobsPlaceError
from selsa_server.jobs.jobs import Jobs
from selsa_server.jobs.place import JobsPlace, open_place
from selsa_server.jobs.remote.addresses import AddressRules
from selsa_server.jobs.remote.connection import RemoteHosts
from selsa_server.service.models import Models
from selsa_server.settings import JobSettings
from selsa_server.telemetry.metrics import Metrics


class JobsService:
    """The jobs of a running server.

    Args:
        models: the models of the server.
        settings: their place and bounds. A configured place that cannot be used ends the server; without a
            configured place, it serves without jobs and logs why.
        metrics: counts their frames.
    """

    def __init__(
        self,
        models: Models,
        settings: JobSettings,
        metrics: Metrics,
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._settings = settings
        # Two servers may share the folder for temporary files; a configured place must be usable.
        self._required = settings.jobs_dir is not None or settings.shared
        self._jobs: Jobs | None = None
        self._reason = "The server is not running yet."

    @property
    def jobs(self) -> Jobs:
        """The jobs.

        Raises:
            JobError: this server has no jobs.
        """
        if self._jobs is None:
            raise JobError("jobs_unavailable", self._reason)
        return self._jobs

    def stop(self) -> None:
        """Stop running jobs within one batch, and end the streams of results and events."""
        if self._jobs is not None:
            self._jobs.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run jobs inside the context; jobs that have not ended continue the next time.

        Raises:
            JobsPlaceError: the place is required and cannot be used.
        """
        try:
            place = await anyio.to_thread.run_sync(open_place, self._settings)
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
        # This server is alone, so jobs marked as running are left from a crashed process.
        await anyio.to_thread.run_sync(partial(store.requeue_running, crashed=True))
        if not self._settings.shared:
            await anyio.to_thread.run_sync(place.outbox.make_due)
        await anyio.to_thread.run_sync(lambda: files.sweep(store.ids()))
        async with anyio.create_task_group() as group:
            hosts = RemoteHosts(AddressRules(self._settings.remote_hosts, self._settings.remote_networks))
            self._jobs = jobs = Jobs(self._models, place, hosts, self._settings, self._metrics)
            jobs.start(group)
            try:
                yield
            finally:
                self._jobs, self._reason = None, "The server is ending."
                jobs.stop()
                group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(store.requeue_running, crashed=False))

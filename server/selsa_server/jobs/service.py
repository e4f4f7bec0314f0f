"""Opening and closing the jobs with the server, and the recovery of jobs of the previous process.

SQLAlchemy and httpx take a third of a server's imports. So they are imported in a thread when the jobs are
opened, and only requests for jobs wait for them.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from selsa_server.jobs.files import JobError, JobsPlaceError
from selsa_server.service.models import Models
from selsa_server.settings import JobSettings
from selsa_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from selsa_server.jobs.jobs import Jobs
    from selsa_server.jobs.place import JobsPlace


class JobsService:
    """The jobs of a running server.

    Args:
        models: the models of the server.
        settings: their place and bounds. A configured place that cannot be used ends the server; without a
            configured place, it serves without jobs and logs why.
        metrics: counts their frames.
        on_refused: called with the reason if a server without a configured place serves without jobs.
    """

    def __init__(
        self,
        models: Models,
        settings: JobSettings,
        metrics: Metrics,
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._on_refused = on_refused
        self._settings = settings
        # Two servers may share the folder for temporary files; a configured place must be usable.
        self._required = settings.jobs_dir is not None or settings.shared
        self._jobs: Jobs | None = None
        self._reason = "The server is not running yet."
        # Set when the jobs that are opened in the background are open, or cannot be opened.
        self._opened: anyio.Event | None = None
        self._stopped = False

    async def jobs(self) -> "Jobs":
        """The jobs, once they are open.

        Raises:
            JobError: this server has no jobs.
        """
        if self._opened is not None:
            await self._opened.wait()
        if self._jobs is None:
            raise JobError("jobs_unavailable", self._reason)
        return self._jobs

    def stop(self) -> None:
        """Stop running jobs within one batch, and end the streams of results and events."""
        self._stopped = True
        if self._jobs is not None:
            self._jobs.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run jobs inside the context; jobs that have not ended continue the next time.

        A required place is open when the block begins; another one is opened in the background.

        Raises:
            JobsPlaceError: the place is required and cannot be used.
        """
        if self._required:
            async with self._open():
                yield
            return
        self._opened = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self._run_in_background, self._opened)
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    async def _run_in_background(self, opened: anyio.Event) -> None:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._open())
            except Exception as error:  # noqa: BLE001 - the server runs already, and continues without jobs
                known = isinstance(error, JobsPlaceError)
                structlog.get_logger().warning(
                    "no jobs", reason=str(error), exc_info=None if known else error
                )
                self._reason = "This server takes no jobs, its log says why; use /detect."
                self._on_refused(str(error))
                return
            finally:
                opened.set()
            await anyio.sleep_forever()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        place = await anyio.to_thread.run_sync(_open_place, self._settings)
        try:
            async with self._working(place):
                yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(place.close)

    @asynccontextmanager
    async def _working(self, place: "JobsPlace") -> AsyncIterator[None]:
        from selsa_server.jobs.jobs import Jobs
        from selsa_server.jobs.remote.addresses import AddressRules
        from selsa_server.jobs.remote.connection import RemoteHosts

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
            if self._stopped:
                jobs.stop()
            try:
                yield
            finally:
                self._jobs, self._reason = None, "The server is ending."
                jobs.stop()
                group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(store.requeue_running, crashed=False))


def _open_place(settings: JobSettings) -> "JobsPlace":
    """In a thread: the imports alone take most of a second."""
    import selsa_server.jobs.jobs  # noqa: F401 - used by the caller
    from selsa_server.jobs.place import open_place

    return open_place(settings)

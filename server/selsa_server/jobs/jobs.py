"""Jobs: detection in the background, one video after the other.

State is in a database and results are in files, so a job survives the process. Servers that share both share
the jobs: a job belongs to one server as long as that server renews its lease.
"""

import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from selsa_server.errors import DetectError, shortage
from selsa_server.jobs.files import JobError, JobFiles
from selsa_server.jobs.intake import JobIntake
from selsa_server.jobs.runner import JobRunner
from selsa_server.jobs.store import JobStore
from selsa_server.jobs.table import JobRow
from selsa_server.run_context import RunContext
from selsa_server.schema.problems import problem_of
from selsa_server.service.models import Model, Models
from selsa_server.settings import JobSettings
from selsa_server.telemetry.metrics import Metrics

RETRY_SECONDS: Final = 1.0
# Seconds between two tries while the disk is full.
FULL_RETRY_SECONDS: Final = 5.0
# Seconds between two queries for changes by other servers.
LOOK_SECONDS: Final = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Running:
    run: int
    cancelled: threading.Event


class Jobs:
    """The jobs of one server. Made by `JobsService`, which opens and closes what it is made of.

    Attributes:
        intake: takes uploads.
        files: where videos and results are.
    """

    def __init__(
        self, models: Models, files: JobFiles, store: JobStore, settings: JobSettings, metrics: Metrics
    ) -> None:
        self._models = models
        self.files = files
        self._store = store
        self.settings = settings
        self.intake = JobIntake(files, store, settings, self._notify)
        self._runner = JobRunner(
            store=store,
            files=files,
            max_bytes=settings.jobs_max_bytes,
            changed=lambda: anyio.from_thread.run_sync(self._notify),
            metrics=metrics,
        )
        self._threads = anyio.CapacityLimiter(settings.jobs_concurrent)
        self._change = anyio.Event()
        self._running: dict[str, _Running] = {}
        self.stopping = False

    def start(self, group: TaskGroup) -> None:
        """Start the tasks that run jobs and delete expired ones, in `group`."""
        for _ in range(self.settings.jobs_concurrent):
            group.start_soon(self._work)
        group.start_soon(self._expire)
        if self.settings.shared:
            group.start_soon(self._renew, self.settings.jobs_lease)

    def stop(self) -> None:
        """Stop running jobs within one batch; the next process continues them."""
        self.stopping = True
        self._notify()

    async def get(self, job_id: str) -> JobRow:
        """The job of that id.

        Raises:
            JobError: there is none.
        """
        row = await _in_thread(self._store.get, job_id)
        if row is None:
            raise JobError("job_not_found", "There is no such job; it may have expired or been deleted.")
        return row

    async def newest(self, limit: int, before: int | None) -> Sequence[JobRow]:
        """The newest jobs, `limit` at most, with a number below `before`."""
        return await _in_thread(self._store.newest, limit, before)

    async def delete(self, job_id: str) -> None:
        """Cancel a job that has not ended, or forget an ended one; deletes its files either way.

        Raises:
            JobError: there is none.
        """
        if (await self.get(job_id)).has_ended:
            await _in_thread(self._store.delete, job_id)
        else:
            await _in_thread(partial(self._store.end, job_id, "cancelled", size=0, keep_key=False))
        running = self._running.get(job_id)
        if running is None:
            await _in_thread(self.files.drop, job_id)
        else:
            running.cancelled.set()
        self._notify()

    async def changes(self, job_id: str, after: int, patience: float) -> AsyncIterator[JobRow | None]:
        """Yield the job at each version above `after`, until the job or the server ends.

        Yields None after `patience` seconds without a change.
        """
        told = time.monotonic()
        while not self.stopping:
            change = self._change
            row = await self.get(job_id)
            if row.version > after:
                after, told = row.version, time.monotonic()
                yield row
            if row.has_ended:
                return
            if await self._changed(change, patience - (time.monotonic() - told)):
                continue
            if time.monotonic() - told >= patience:
                told = time.monotonic()
                yield None

    async def _work(self) -> None:
        while not self.stopping:
            with _surviving("a job could not be taken up") as failed:
                change = self._change
                claim = partial(self._store.claim, self._claimable())
                row = await self._with_room(claim, lambda: self.stopping)
                if row is None:
                    await self._changed(change, math.inf)
                else:
                    await self._run(row)
            if failed:
                await anyio.sleep(RETRY_SECONDS)

    async def _run(self, row: JobRow) -> None:
        running = self._running[row.id] = _Running(row.run, threading.Event())

        def stopped() -> bool:
            return self.stopping or running.cancelled.is_set()

        try:
            now = await _in_thread(self._store.get, row.id)
            if (
                now is None or now.state != "running" or now.run != row.run
            ):  # cancelled between the claim and the line above
                running.cancelled.set()
            with self._model(row) as model:
                await self._with_room(
                    partial(
                        self._runner.run,
                        row,
                        None if model is None else model.service,
                        RunContext(stopped=stopped),
                    ),
                    stopped,
                )
        except Exception as error:  # noqa: BLE001 - the next job must run
            structlog.get_logger().error("job failed", job=row.id, exc_info=error)
            failure = DetectError("internal_error", "The server failed on this job; its log says why.")
            text = problem_of(failure).model_dump_json()
            end = partial(self._store.end, row.id, "failed", size=0, run=row.run, problem=text)
            await self._with_room(end, stopped)
        finally:
            del self._running[row.id]
            self._notify()

    async def _with_room(self, work: Callable[[], T], stopped: Callable[[], bool]) -> T | None:
        """What `work` returns, repeated as long as the disk is full; None if stopped before there is room."""
        warned = False
        while True:
            change = self._change
            try:
                return await anyio.to_thread.run_sync(work, limiter=self._threads)
            except OSError as error:
                if shortage(error) is None:
                    raise
                if stopped():
                    return None
                if not warned:
                    structlog.get_logger().warning("jobs wait, the disk is full", error=str(error))
                warned = True
            await self._changed(change, FULL_RETRY_SECONDS)

    async def _changed(self, change: anyio.Event, patience: float) -> bool:
        """Wait for a change here, or until the next look at changes by other servers; True for a change."""
        if self.settings.shared:
            patience = min(patience, LOOK_SECONDS)
        with anyio.move_on_after(max(0.0, patience)):
            await change.wait()
        return change.is_set()

    def _claimable(self) -> list[str] | None:
        """Models whose jobs this server can run; None: all jobs."""
        return list(self._models.ready) if self.settings.shared else None

    async def _renew(self, lease: float) -> None:
        """Renew the leases of running jobs, and stop jobs that another server has taken over."""
        while True:
            await anyio.sleep(lease / 3)
            with _surviving("claims of jobs could not be renewed"):
                before = dict(self._running)
                if not before:
                    continue
                runs = [(job_id, running.run) for job_id, running in before.items()]
                held = await _in_thread(self._store.renew, runs)
                for job_id, running in before.items():
                    if job_id not in held:
                        running.cancelled.set()

    def _model(self, row: JobRow) -> AbstractContextManager[Model | None]:
        """The model of a job, kept open inside the context; None if it is gone."""
        if row.model is not None and row.model not in self._models:
            return nullcontext()
        return self._models.using(row.model)

    async def _expire(self) -> None:
        while not self.stopping:
            with _surviving("ended jobs could not be deleted"):
                for row in await _in_thread(self._store.ended_for, self.settings.jobs_ttl):
                    await _in_thread(self._store.delete, row.id)
                    await _in_thread(self.files.drop, row.id)
            await anyio.sleep(min(60.0, self.settings.jobs_ttl / 2))

    def _notify(self) -> None:
        self._change.set()
        self._change = anyio.Event()


@contextmanager
def _surviving(what: str) -> Iterator[list[Exception]]:
    """Log an exception and continue: after a full disk, later jobs must run."""
    failed: list[Exception] = []
    try:
        yield failed
    except Exception as error:  # noqa: BLE001 - see above
        structlog.get_logger().error(what, exc_info=error)
        failed.append(error)


async def _in_thread(call: Callable[..., T], *args: object) -> T:
    return await anyio.to_thread.run_sync(call, *args)

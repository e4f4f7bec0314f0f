"""Jobs: detection in the background, one video after the other.

State is in a database and results are in files, so a job survives the process. Servers that share both share
the jobs: a job belongs to one server as long as that server renews its lease.
"""

import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from selsa_server.errors import DetectError, shortage
from selsa_server.jobs.background import RETRY_SECONDS, Changes, in_thread, surviving
from selsa_server.jobs.downloads import FULL_RETRY_SECONDS, Downloads
from selsa_server.jobs.files import JobError
from selsa_server.jobs.intake import JobIntake
from selsa_server.jobs.place import JobsPlace
from selsa_server.jobs.remote.connection import RemoteHosts
from selsa_server.jobs.runner import JobRunner
from selsa_server.jobs.table import JobRow
from selsa_server.jobs.webhooks.delivery import Webhooks, read_secrets
from selsa_server.run_context import RunContext
from selsa_server.schema.problems import problem_of
from selsa_server.service.models import Model, Models
from selsa_server.settings import JobSettings
from selsa_server.telemetry.metrics import Metrics

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
        intake: takes uploads and addresses.
        files: where videos and results are.
        webhooks: sends the messages about ended jobs.
    """

    def __init__(
        self, models: Models, place: JobsPlace, hosts: RemoteHosts, settings: JobSettings, metrics: Metrics
    ) -> None:
        self._models = models
        self.files = files = place.files
        self._store = store = place.store
        self.settings = settings
        path = settings.webhook_secrets_file
        secrets = [] if path is None else read_secrets(path)
        self._changes = changes = Changes(LOOK_SECONDS if settings.shared else math.inf)
        self.webhooks = Webhooks(place.outbox, hosts, secrets, settings, changes, metrics)
        self.intake = JobIntake(files, store, settings, hosts.rules, self.webhooks, changes.notify)
        self._downloads = Downloads(store, files, hosts, settings, changes, metrics)
        self._runner = JobRunner(
            store=store,
            files=files,
            max_bytes=settings.jobs_max_bytes,
            changed=lambda: anyio.from_thread.run_sync(changes.notify),
            metrics=metrics,
        )
        self._threads = anyio.CapacityLimiter(settings.jobs_concurrent)
        self._running: dict[str, _Running] = {}

    @property
    def stopping(self) -> bool:
        """Whether the server ends."""
        return self._changes.stopping

    def start(self, group: TaskGroup) -> None:
        """Start the tasks that run jobs and delete expired ones, in `group`."""
        for _ in range(self.settings.jobs_concurrent):
            group.start_soon(self._work)
        group.start_soon(self._expire)
        group.start_soon(self._downloads.work)
        group.start_soon(self.webhooks.work)
        if self.settings.shared:
            group.start_soon(self._renew, self.settings.jobs_lease)

    def stop(self) -> None:
        """Stop running jobs within one batch; the next process continues them."""
        self._changes.stop()

    async def get(self, job_id: str) -> JobRow:
        """The job of that id.

        Raises:
            JobError: there is none.
        """
        row = await in_thread(self._store.get, job_id)
        if row is None:
            raise JobError("job_not_found", "There is no such job; it may have expired or been deleted.")
        return row

    async def newest(self, limit: int, before: int | None) -> Sequence[JobRow]:
        """The newest jobs, `limit` at most, with a number below `before`."""
        return await in_thread(self._store.newest, limit, before)

    async def delete(self, job_id: str) -> None:
        """Cancel a job that has not ended, or forget an ended one; deletes its files either way.

        Raises:
            JobError: there is none.
        """
        if (await self.get(job_id)).has_ended:
            await in_thread(self._store.delete, job_id)
        else:
            await in_thread(partial(self._store.end, job_id, "cancelled", size=0, keep_key=False))
        stop = self._runs().get(job_id)
        if stop is None:
            await in_thread(self.files.drop, job_id)
        else:
            stop[1]()
        self._changes.notify()

    async def changes(self, job_id: str, after: int, patience: float) -> AsyncIterator[JobRow | None]:
        """Yield the job at each version above `after`, until the job or the server ends.

        Yields None after `patience` seconds without a change.
        """
        told = time.monotonic()
        while not self.stopping:
            change = self._changes.now()
            row = await self.get(job_id)
            if row.version > after:
                after, told = row.version, time.monotonic()
                yield row
            if row.has_ended:
                return
            if await self._changes.wait(change, patience - (time.monotonic() - told)):
                continue
            if time.monotonic() - told >= patience:
                told = time.monotonic()
                yield None

    async def _work(self) -> None:
        while not self.stopping:
            with surviving("a job could not be taken up") as failed:
                change = self._changes.now()
                claim = partial(self._store.claim, self._claimable())
                row = await self._with_room(claim, lambda: self.stopping)
                if row is None:
                    await self._changes.wait(change, math.inf)
                else:
                    await self._run(row)
            if failed:
                await anyio.sleep(RETRY_SECONDS)

    async def _run(self, row: JobRow) -> None:
        running = self._running[row.id] = _Running(row.run, threading.Event())

        def stopped() -> bool:
            return self.stopping or running.cancelled.is_set()

        try:
            now = await in_thread(self._store.get, row.id)
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
            self._changes.notify()

    async def _with_room(self, work: Callable[[], T], stopped: Callable[[], bool]) -> T | None:
        """What `work` returns, repeated as long as the disk is full; None if stopped before there is room."""
        warned = False
        while True:
            change = self._changes.now()
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
            await self._changes.wait(change, FULL_RETRY_SECONDS)

    def _claimable(self) -> list[str] | None:
        """Models whose jobs this server can run; None: all jobs."""
        return list(self._models.ready) if self.settings.shared else None

    async def _renew(self, lease: float) -> None:
        """Renew the leases of running jobs, and stop jobs that another server has taken over."""
        while True:
            await anyio.sleep(lease / 3)
            with surviving("claims of jobs could not be renewed"):
                before = self._runs()
                if not before:
                    continue
                runs = [(job_id, run) for job_id, (run, _) in before.items()]
                held = await in_thread(self._store.renew, runs)
                for job_id, (_, stop) in before.items():
                    if job_id not in held:
                        stop()

    def _runs(self) -> dict[str, tuple[int, Callable[[], None]]]:
        """By job: each run and each download that is going on here, and how to stop it."""
        runs = {job_id: (each.run, each.cancelled.set) for job_id, each in self._running.items()}
        return {**runs, **self._downloads.runs()}

    def _model(self, row: JobRow) -> AbstractContextManager[Model | None]:
        """The model of a job, kept open inside the context; None if it is gone."""
        if row.model is not None and row.model not in self._models:
            return nullcontext()
        return self._models.using(row.model)

    async def _expire(self) -> None:
        while not self.stopping:
            with surviving("ended jobs could not be deleted"):
                for row in await in_thread(self._store.ended_for, self.settings.jobs_ttl):
                    await in_thread(self._store.delete, row.id)
                    await in_thread(self.files.drop, row.id)
            await anyio.sleep(min(60.0, self.settings.jobs_ttl / 2))

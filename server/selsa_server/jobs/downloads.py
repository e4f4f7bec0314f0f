"""The videos of jobs that name an address: downloaded before the job waits for its turn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio
import structlog

from selsa_server.errors import DetectError, shortage
from selsa_server.jobs.background import Changes, in_thread, work_through
from selsa_server.jobs.files import JobError, JobFiles, RunLostError
from selsa_server.jobs.remote.connection import RemoteHosts
from selsa_server.jobs.remote.download import DownloadLimits, download_video
from selsa_server.jobs.store import JobStore
from selsa_server.jobs.table import JobRow
from selsa_server.schema.problems import problem_of
from selsa_server.settings import JobSettings
from selsa_server.telemetry.metrics import Metrics

# Seconds between two tries while the disk is full.
FULL_RETRY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Running:
    run: int
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Downloads:
    """Downloads videos, some at once; a video that is being downloaded waits for no other's detection.

    Args:
        store: state of the jobs.
        files: storage of videos.
        hosts: what may be downloaded.
        settings: bounds.
        changes: of the jobs.
        metrics: counts downloads and bytes.
    """

    def __init__(
        self,
        store: JobStore,
        files: JobFiles,
        hosts: RemoteHosts,
        settings: JobSettings,
        changes: Changes,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._files = files
        self._hosts = hosts
        self._settings = settings
        self._changes = changes
        self._metrics = metrics
        self._limits = DownloadLimits(
            max_bytes=settings.max_upload_bytes,
            window=settings.upload_timeout,
            rate=settings.min_upload_rate,
            total=settings.remote_timeout,
        )
        self._running: dict[str, _Running] = {}

    async def work(self) -> None:
        """Download until the server ends."""
        at_once = self._settings.remote_concurrent
        await work_through(self._store.claim_download, self._download, self._changes, at_once=at_once)

    def runs(self) -> dict[str, tuple[int, Callable[[], None]]]:
        """By job: the run of each download that is going on, and how to stop it."""
        return {job_id: (each.run, each.scope.cancel) for job_id, each in self._running.items()}

    async def _download(self, row: JobRow) -> None:
        running = self._running[row.id] = _Running(row.run)
        outcome = "cancelled"
        try:
            with running.scope:
                await self._with_room(row)
                outcome = "complete"
        except RunLostError:
            structlog.get_logger().warning("download lost to another server or cancelled", job=row.id)
        except DetectError as error:
            outcome = error.code
            await self._fail(row, error)
        except Exception as error:  # noqa: BLE001 - the job must end
            outcome = "internal_error"
            structlog.get_logger().error("download failed", job=row.id, exc_info=error)
            await self._fail(row, DetectError("internal_error", "The server failed on this video."))
        finally:
            self._metrics.download(outcome)
            del self._running[row.id]
            with anyio.CancelScope(shield=True):
                now = await in_thread(self._store.get, row.id)
                if now is None or now.state in ("cancelled", "failed"):
                    await in_thread(self._files.drop, row.id)
            self._changes.notify()

    async def _with_room(self, row: JobRow) -> None:
        """Download; again and again as long as the disk is full."""
        warned = False
        while True:
            try:
                await self._try(row)
            except OSError as error:
                if shortage(error) is None:
                    raise
                if not warned:
                    structlog.get_logger().warning("downloads wait, the disk is full", error=str(error))
                warned = True
            else:
                return
            await anyio.sleep(FULL_RETRY_SECONDS)

    async def _try(self, row: JobRow) -> None:
        part = self._files.part(row.id)
        address = self._hosts.rules.parse(row.url or "")
        counted = row.bytes

        async def arrived(size: int) -> None:
            nonlocal counted
            # A smaller size is that of a file that was started again, or of a playlist's first segment.
            self._metrics.downloaded(size - counted if size >= counted else size)
            counted = size
            note = partial(self._store.note_download, row.id, run=row.run, size=size)
            if not await in_thread(note):
                raise RunLostError
            self._changes.notify()
            if await in_thread(self._store.size) > self._settings.jobs_max_bytes:
                raise JobError(
                    "jobs_full",
                    f"The files of all jobs would be larger than the {self._settings.jobs_max_bytes} bytes "
                    "allowed.",
                )

        await download_video(self._hosts, address, part, self._limits, arrived)
        # Another server may have the job by now, and its video must not be replaced.
        if row.id not in await in_thread(self._store.renew, [(row.id, row.run)]):
            raise RunLostError
        size = await in_thread(self._files.adopt, part, row.id)
        part.unlink(missing_ok=True)
        await in_thread(partial(self._store.end_download, row.id, run=row.run, size=size))

    async def _fail(self, row: JobRow, error: DetectError) -> None:
        # The address may be sent again; only an Idempotency-Key stays in use.
        text = problem_of(error).model_dump_json()
        end = partial(self._store.end, row.id, "failed", size=0, run=row.run, problem=text)
        await in_thread(end)

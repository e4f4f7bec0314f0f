"""From an upload to a job: room for it, and the lookup of an equal job."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio.to_thread

from selsa_server.errors import OverloadError
from selsa_server.jobs.files import JobError, JobFiles, new_job_id
from selsa_server.jobs.store import JobStore
from selsa_server.jobs.table import JobRow
from selsa_server.schema.detect import DetectParams
from selsa_server.service.models import Model
from selsa_server.settings import JobSettings

# Seconds a client is asked to wait when the queue is full.
RETRY_AFTER: Final = 60


class JobIntake:
    """Takes uploads into the queue.

    Args:
        files: storage of videos and results.
        store: state of the jobs.
        settings: the jobs' bounds.
        added: called after each submission.
    """

    def __init__(
        self,
        files: JobFiles,
        store: JobStore,
        settings: JobSettings,
        added: Callable[[], None],
    ) -> None:
        self._files = files
        self._store = store
        self._settings = settings
        self._added = added
        self._arrived = 0

    @contextmanager
    def room(self, size: int, used: int) -> Iterator[Callable[[int], None]]:
        """An upload, which counts with the bytes that have arrived and not with those it announces.

        Args:
            size: bytes that it announces; 0 if it announces none.
            used: bytes of all jobs' files.

        Yields:
            To be called with the number of bytes whenever some arrive; raises JobError without room.

        Raises:
            JobError: there is not enough room.
        """
        held = 0

        def arrived(count: int) -> None:
            nonlocal held
            self._check_room(used, count)
            held += count
            self._arrived += count

        self._check_room(used, size)
        try:
            yield arrived
        finally:
            self._arrived -= held

    def _check_room(self, used: int, more: int) -> None:
        if used + self._arrived + more > self._settings.jobs_max_bytes:
            raise JobError(
                "jobs_full",
                f"The files of all jobs may have {self._settings.jobs_max_bytes} bytes; delete "
                "jobs whose results you have read, or send a smaller video.",
            )

    async def used(self) -> int:
        """Bytes of all jobs' files.

        Raises:
            OverloadError: too many jobs wait.
        """
        await anyio.to_thread.run_sync(self._check_queue)
        return await anyio.to_thread.run_sync(self._store.size)

    async def submit(
        self, upload: Path, params: DetectParams, model: Model, key: str | None
    ) -> tuple[JobRow, bool]:
        """The job for an upload in the folder, and whether it is new.

        Args:
            upload: the video; it becomes the job's, or stays for the caller to delete.
            params: what is asked for.
            model: its model.
            key: the client's Idempotency-Key; without one, equal requests are the same job.

        Raises:
            JobError: the key belongs to another request.
            OverloadError: too many jobs wait by now.
        """
        job = await anyio.to_thread.run_sync(self._submit, upload, params, model, key)
        self._added()
        return job

    def _submit(
        self, upload: Path, params: DetectParams, model: Model, key: str | None
    ) -> tuple[JobRow, bool]:
        with upload.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        # `asked` has the model's name if the request named one; the digest identifies its bundle.
        bundle, asked = model.bundle.digest, params.model_dump_json()
        fingerprint = _sha256(content, asked, bundle)
        reuse_key = f"content:{fingerprint}" if key is None else f"key:{_sha256(key)}"
        found = self._store.find(reuse_key)
        if found is None:
            self._check_queue()
            job_id = new_job_id()
            size = self._files.adopt(upload, job_id)
            found = self._store.add(
                job_id=job_id,
                reuse_key=reuse_key,
                fingerprint=fingerprint,
                params=asked,
                model=model.name,
                bundle=bundle,
                size=size,
            )
            if found.id == job_id:
                return found, True
            self._files.drop(job_id)
        if found.fingerprint != fingerprint:
            raise JobError(
                "idempotency_key_reused",
                "This Idempotency-Key came with another video, parameters, model or bundle before; "
                "take a new one.",
                parameter="Idempotency-Key",
            )
        return found, False

    def _check_queue(self) -> None:
        most, wait = self._settings.jobs_max_queued, RETRY_AFTER
        if self._store.queued() >= most:
            raise OverloadError(f"{most} jobs are waiting; send the video again in {wait} s.", wait)


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()

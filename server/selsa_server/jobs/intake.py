"""From an upload or an address to a job: room for it, and the lookup of an equal job."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio.to_thread

from selsa_server.errors import OverloadError
from selsa_server.jobs.files import JobError, JobFiles, new_job_id
from selsa_server.jobs.remote.addresses import AddressRules, RemoteAddress
from selsa_server.jobs.store import JobStore
from selsa_server.jobs.table import JobRow
from selsa_server.jobs.webhooks.delivery import Webhooks
from selsa_server.schema.jobs import JobParams
from selsa_server.service.models import Model
from selsa_server.settings import JobSettings

# Seconds a client is asked to wait when the queue is full.
RETRY_AFTER: Final = 60


class JobIntake:
    """Takes uploads and addresses of videos into the queue.

    Args:
        files: storage of videos and results.
        store: state of the jobs.
        settings: the jobs' bounds.
        rules: addresses that clients may name.
        webhooks: checks where messages go.
        added: called after each submission.
    """

    def __init__(
        self,
        files: JobFiles,
        store: JobStore,
        settings: JobSettings,
        rules: AddressRules,
        webhooks: Webhooks,
        added: Callable[[], None],
    ) -> None:
        self._files = files
        self._store = store
        self._settings = settings
        self._rules = rules
        self._webhooks = webhooks
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

    def check(self, params: JobParams) -> None:
        """Check where the message about the job's end goes, before its video is read.

        Raises:
            RemoteError: it is not allowed.
        """
        if params.webhook is not None:
            self._webhooks.check(params.webhook)

    def address(self, url: str) -> RemoteAddress:
        """The address of a video that a client names.

        Raises:
            RemoteError: it is not allowed.
        """
        return self._rules.parse(url)

    async def submit(
        self, video: Path | RemoteAddress, params: JobParams, model: Model, key: str | None
    ) -> tuple[JobRow, bool]:
        """The job for a video, and whether it is new.

        Args:
            video: an upload in the folder, which becomes the job's or stays for the caller to delete; or an
                address.
            params: what is asked for.
            model: its model.
            key: the client's Idempotency-Key; without one, requests with equal uploads are the same job.

        Raises:
            JobError: the key belongs to another request.
            OverloadError: too many jobs wait by now.
        """
        job = await anyio.to_thread.run_sync(self._submit, video, params, model, key)
        self._added()
        return job

    def _submit(
        self, video: Path | RemoteAddress, params: JobParams, model: Model, key: str | None
    ) -> tuple[JobRow, bool]:
        # `asked` has the model's name if the request named one; the digest identifies its bundle.
        bundle, asked = model.bundle.digest, params.detection().model_dump_json()
        told = () if params.webhook is None else (params.webhook, str(params.webhook_summary))
        fingerprint = _sha256(_content(video), asked, bundle, *told)
        reuse_key = None if key is None else f"key:{_sha256(key)}"
        if reuse_key is None and isinstance(video, Path):
            # What is at an address may change, so only uploads are known by what they are.
            reuse_key = f"content:{fingerprint}"
        found = None if reuse_key is None else self._store.find(reuse_key)
        if found is None:
            self._check_queue()
            job_id = new_job_id()
            size = self._files.adopt(video, job_id) if isinstance(video, Path) else 0
            found = self._store.add(
                job_id=job_id,
                reuse_key=reuse_key,
                fingerprint=fingerprint,
                params=asked,
                model=model.name,
                bundle=bundle,
                size=size,
                video=None if isinstance(video, Path) else video,
                webhook=params.webhook,
                webhook_summary=params.webhook_summary,
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


def _content(video: Path | RemoteAddress) -> str:
    """What identifies the video: a digest of its bytes, or of its address."""
    if not isinstance(video, Path):
        return _sha256("address", video.url)
    with video.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()

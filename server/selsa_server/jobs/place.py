"""The storage of jobs: a folder of this server, or a database and files that several servers share."""

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from selsa_server.jobs.database import JobsDatabaseError, open_postgresql, open_sqlite
from selsa_server.jobs.files import JobFiles, JobsPlaceError
from selsa_server.jobs.folder import JobsFolder
from selsa_server.jobs.shared import open_shared_files
from selsa_server.jobs.shared_results import PartTable
from selsa_server.jobs.store import JobStore
from selsa_server.jobs.webhooks.outbox import Outbox
from selsa_server.settings import JobSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsPlace:
    """State, messages and files of the jobs, open."""

    store: JobStore
    outbox: Outbox
    files: JobFiles

    def close(self) -> None:
        """Close both."""
        self.store.close()
        self.files.close()


def open_place(settings: JobSettings) -> JobsPlace:
    """The place that the settings name.

    Raises:
        JobsPlaceError: it cannot be used; the message says why on one line.
    """
    if settings.jobs_database is None:
        return open_folder(settings.jobs_dir or settings.spool_dir / "selsa-jobs", settings.jobs_ttl)
    assert settings.jobs_files is not None, "the settings have both or none"
    address = settings.jobs_database.get_secret_value()
    return open_shared(
        address, settings.jobs_files, settings.spool_dir, settings.jobs_lease, settings.jobs_ttl
    )


def open_folder(path: Path, ttl: float | None = None) -> JobsPlace:
    """A folder that one server works in at a time; `ttl` as in `JobStore`. Raises `JobsPlaceError`."""
    folder = JobsFolder(path)
    try:
        engine = open_sqlite(folder.database)
        return JobsPlace(store=JobStore(engine, ttl=ttl), outbox=Outbox(engine), files=folder)
    except JobsDatabaseError as error:
        folder.close()
        raise JobsPlaceError(f"the jobs folder {path} cannot be used: {error}") from error
    except BaseException:
        folder.close()
        raise


def open_shared(
    database: str, files: str, uploads: Path, lease: float, ttl: float | None = None
) -> JobsPlace:
    """A PostgreSQL database, and files at an fsspec address. Raises `JobsPlaceError`.

    Args:
        database: address of the database.
        files: address of the files.
        uploads: folder of this machine for uploads and for videos in progress.
        lease: seconds without a heartbeat after which other servers take over a job.
        ttl: as in `JobStore`.
    """
    try:
        engine = open_postgresql(database)
    except JobsDatabaseError as error:
        raise JobsPlaceError(str(error)) from error
    try:
        shared = open_shared_files(files, uploads, PartTable(engine))
    except BaseException:
        engine.dispose()
        raise
    # Readable for people, and unique.
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    store = JobStore(engine, owner=owner, lease=lease, ttl=ttl)
    return JobsPlace(store=store, outbox=Outbox(engine), files=shared)

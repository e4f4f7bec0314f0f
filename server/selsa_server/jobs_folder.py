"""The folder of jobs: its lock, and the files of each job, found by ids that only the server makes."""

import os
import re
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from selsa_server.errors import JobError

__all__ = ["ID_PATTERN", "JobsFolder", "JobsFolderError", "new_job_id"]

# 144 bits from the system's generator.
ID_PATTERN: Final = r"^[A-Za-z0-9_-]{24}$"


class JobsFolderError(Exception):
    """The folder cannot be used; the message says why."""


def new_job_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_urlsafe(18)


class JobsFolder:
    """A folder that one process works in at a time.

    Raises:
        JobsFolderError: another process holds it, or it is somebody else's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A folder for temporary files is everybody's: what lies there under our name may not be ours.
            if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
                raise JobsFolderError(f"the jobs folder {path} belongs to another user; set jobs_dir")
            self._lock = (path / "lock").open("ab")
        except OSError as error:
            raise JobsFolderError(f"the jobs folder {path} cannot be used: {error.strerror}") from error
        if not _try_lock(self._lock):
            self._lock.close()
            raise JobsFolderError(f"another server works in the jobs folder {path}; set jobs_dir")

    def close(self) -> None:
        """Let another process have it."""
        self._lock.close()

    @property
    def database(self) -> Path:
        """Where the state is."""
        return self.path / "jobs.sqlite3"

    def video(self, job_id: str) -> Path:
        """The video of a job that has not ended."""
        return self.path / f"{_checked(job_id)}.video"

    def results(self, job_id: str) -> Path:
        """The results of a job."""
        return self.path / f"{_checked(job_id)}.ndjson"

    def adopt(self, upload: Path, job_id: str) -> int:
        """Make an upload in this folder a job's video, durably; returns its size in bytes."""
        with upload.open("rb") as file:
            os.fsync(file.fileno())
        video = upload.rename(self.video(job_id))
        self._sync()
        return video.stat().st_size

    def begin_results(self, job_id: str) -> Path:
        """The results of a job that begins or goes on; the file is there."""
        path = self.results(job_id)
        path.touch(mode=0o600)
        self._sync()
        return path

    def drop_video(self, job_id: str) -> None:
        """Delete a job's video."""
        self.video(job_id).unlink(missing_ok=True)

    def drop(self, job_id: str) -> None:
        """Delete all files of a job."""
        self.drop_video(job_id)
        self.results(job_id).unlink(missing_ok=True)

    def size(self, job_id: str) -> int:
        """Bytes of a job's files."""
        total = 0
        for path in (self.video(job_id), self.results(job_id)):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def sweep(self, known: set[str]) -> None:
        """Delete what an ended process left: uploads that became no job, and files of no job."""
        uploads = list(self.path.glob("selsa-*.upload"))
        of_jobs = [*self.path.glob("*.video"), *self.path.glob("*.ndjson")]
        # Whoever names a folder with files of their own loses none of them: only our kind of name goes.
        lost = [path for path in of_jobs if re.fullmatch(ID_PATTERN, path.stem) and path.stem not in known]
        for path in (*uploads, *lost):
            path.unlink(missing_ok=True)

    def _sync(self) -> None:
        """Make names durable; a system without folders to sync does so by itself."""
        if sys.platform == "win32":
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _checked(job_id: str) -> str:
    if not re.fullmatch(ID_PATTERN, job_id):
        raise JobError("job_not_found", "There is no such job.")
    return job_id


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: BinaryIO) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

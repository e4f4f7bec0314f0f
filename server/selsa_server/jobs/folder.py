"""The folder of jobs: its lock, and the files of each job, found by ids that only the server makes."""

import os
import re
import sys
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Final

from selsa_server.jobs.files import ID_PATTERN, JobsPlaceError, checked_id
from selsa_server.jobs.folder_results import ResultsFile, ResultsReader
from selsa_server.jobs.remote.download import drop_part

# Seconds that records wait to be written together: a sync costs milliseconds.
FLUSH_SECONDS: Final = 0.2


class JobsFolder:
    """`JobFiles` in a folder that one process works in at a time.

    Raises:
        JobsPlaceError: another process holds it, or another user owns it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # In a shared folder for temporary files, another user may have created this one.
            if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
                raise JobsPlaceError(f"the jobs folder {path} belongs to another user; set jobs_dir")
            self._lock = (path / "lock").open("ab")
        except OSError as error:
            raise JobsPlaceError(f"the jobs folder {path} cannot be used: {error.strerror}") from error
        if not _try_lock(self._lock):
            self._lock.close()
            raise JobsPlaceError(f"another server works in the jobs folder {path}; set jobs_dir")

    def close(self) -> None:
        """Release the folder's lock."""
        self._lock.close()

    @property
    def database(self) -> Path:
        """Where the state is."""
        return self.path / "jobs.sqlite3"

    @property
    def uploads(self) -> Path:
        """The folder itself, so that an upload becomes a video by its name."""
        return self.path

    def patience(self, elapsed: float) -> float:
        """Seconds that records may wait to be written together."""
        del elapsed
        return FLUSH_SECONDS

    def video(self, job_id: str) -> AbstractContextManager[Path]:
        """The video of a job that has not ended."""
        return nullcontext(self._video(job_id))

    def results(self, job_id: str, run: int) -> ResultsFile:
        """The results of a job, for one of its runs; creates the file."""
        del run
        path = self._results(job_id)
        path.touch(mode=0o600)
        self._sync()
        return ResultsFile(path)

    def read(self, job_id: str, after: int) -> ResultsReader:
        """The results of a job from record number `after` on."""
        return ResultsReader(self._results(job_id), after)

    def part(self, job_id: str) -> Path:
        """A file for a video that is being downloaded."""
        return self.path / f"{checked_id(job_id)}.part"

    def adopt(self, upload: Path, job_id: str) -> int:
        """Make an upload in this folder a job's video, durably; returns its size in bytes."""
        with upload.open("rb") as file:
            os.fsync(file.fileno())
        video = upload.rename(self._video(job_id))
        self._sync()
        return video.stat().st_size

    def drop_video(self, job_id: str) -> None:
        """Delete a job's video."""
        self._video(job_id).unlink(missing_ok=True)

    def drop(self, job_id: str) -> None:
        """Delete all files of a job."""
        self.drop_video(job_id)
        self._results(job_id).unlink(missing_ok=True)
        drop_part(self.part(job_id))

    def sweep(self, known: Collection[str]) -> None:
        """Delete leftovers of an ended process: uploads without a job, and files of unknown jobs."""
        uploads = list(self.path.glob("selsa-*.upload"))
        of_jobs = [*self.path.glob("*.video"), *self.path.glob("*.ndjson"), *self.path.glob("*.part*")]
        # Only files with names of this form are deleted, in case the folder holds other files.
        names = {path: path.name.partition(".")[0] for path in of_jobs}
        lost = [path for path, name in names.items() if re.fullmatch(ID_PATTERN, name) and name not in known]
        for path in (*uploads, *lost):
            path.unlink(missing_ok=True)

    def _video(self, job_id: str) -> Path:
        return self.path / f"{checked_id(job_id)}.video"

    def _results(self, job_id: str) -> Path:
        return self.path / f"{checked_id(job_id)}.ndjson"

    def _sync(self) -> None:
        """Make names durable; a system without folders to sync does so by itself."""
        if sys.platform == "win32":
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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

"""Videos and results of shared jobs: a folder or object store, by its fsspec address."""

import tempfile
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from pathlib import Path
from re import fullmatch
from typing import Any, Final

from selsa_server.jobs.files import ID_PATTERN, JobsPlaceError, checked_id
from selsa_server.jobs.remote.download import drop_part
from selsa_server.jobs.shared_results import ObjectStore, PartsReader, PartTable, ResultParts

PROBE_SECONDS: Final = 30
BUCKETS: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"})
# Seconds that records wait to become a part: at least, at most, and as a share of the run's time.
FIRST_FLUSH, LAST_FLUSH, FLUSH_SHARE = 1.0, 10.0, 0.02
# A video without a job may be an upload that another server is turning into one.
SWEEP_SECONDS: Final = 3600.0


class SharedFiles:
    """`JobFiles` in a file system of fsspec, whose writes are atomic.

    Args:
        files: the file system.
        root: the folder in it, or bucket and prefix.
        uploads: a folder of this machine for uploads and for videos in progress.
        table: lists the parts of the results.
    """

    def __init__(self, files: Any, root: str, uploads: Path, table: PartTable) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self.uploads = uploads
        self._table = table
        self._store = ObjectStore(put=self._put, get=self._get)

    def patience(self, elapsed: float) -> float:
        """Each part is a request to the store, so long runs write parts less often."""
        return min(LAST_FLUSH, max(FIRST_FLUSH, FLUSH_SHARE * elapsed))

    def part(self, job_id: str) -> Path:
        """A file of this machine for a video that is being downloaded."""
        return self.uploads / f"selsa-{checked_id(job_id)}.part"

    def adopt(self, upload: Path, job_id: str) -> int:
        """Copy an upload to the store."""
        size = upload.stat().st_size
        self._make_folder(self._folder(job_id))
        self._files.put_file(str(upload), self._video(job_id))
        return size

    @contextmanager
    def video(self, job_id: str) -> Iterator[Path]:
        """A copy of the video on this machine."""
        with tempfile.NamedTemporaryFile(prefix="selsa-", suffix=".upload", dir=self.uploads) as file:
            self._files.get_file(self._video(job_id), file.name)
            yield Path(file.name)

    def results(self, job_id: str, run: int) -> ResultParts:
        """The results of a job, for a run of it."""
        return ResultParts(self._store, self._table, checked_id(job_id), run)

    def read(self, job_id: str, after: int) -> PartsReader:
        """The results of a job from record number `after` on."""
        return PartsReader(self._store, self._table, checked_id(job_id), after)

    def drop_video(self, job_id: str) -> None:
        """Delete a job's video."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._video(job_id))

    def drop(self, job_id: str) -> None:
        """Delete all files of a job, also those of servers that had lost it."""
        drop_part(self.part(job_id))
        with suppress(FileNotFoundError):
            self._files.rm(self._folder(job_id), recursive=True)

    def sweep(self, known: Collection[str]) -> None:
        """Delete old videos without a job, left by a server that was killed after storing the video.

        Downloads of jobs that ended elsewhere are deleted too; jobs of another database may use the folder.
        """
        for path in self.uploads.glob("selsa-*.part*"):
            job_id = path.name.partition(".")[0].removeprefix("selsa-")
            with suppress(OSError):
                if job_id not in known and time.time() - path.stat().st_mtime > SWEEP_SECONDS:
                    path.unlink()
        try:
            paths = self._files.ls(self._root, detail=False)
        except FileNotFoundError:  # nothing is there, and so no folder
            return
        for path in paths:
            job_id = path.rstrip("/").rpartition("/")[2]
            if not fullmatch(ID_PATTERN, job_id) or job_id in known:
                continue
            with suppress(FileNotFoundError):
                if time.time() - self._files.modified(self._video(job_id)).timestamp() > SWEEP_SECONDS:
                    self.drop(job_id)

    def close(self) -> None:
        """Nothing to do: no resources are held."""

    def probe(self) -> None:
        """Write, read and delete a small file, as jobs do."""
        name = f"{self._root}/selsa-probe-{time.time_ns()}"
        self._make_folder(self._root)
        self._files.pipe_file(name, b"selsa")
        found = self._files.cat_file(name)
        self._files.rm_file(name)
        if found != b"selsa":
            raise OSError("a file that was written reads differently")

    def _make_folder(self, path: str) -> None:
        """Create a folder. Object stores have none; a missing bucket is an error of the store."""
        protocol = self._files.protocol
        if BUCKETS.isdisjoint((protocol,) if isinstance(protocol, str) else protocol):
            self._files.makedirs(path, exist_ok=True)

    def _put(self, name: str, body: bytes) -> None:
        self._files.pipe_file(f"{self._root}/{name}", body)

    def _get(self, name: str) -> bytes:
        found: bytes = self._files.cat_file(f"{self._root}/{name}")
        return found

    def _folder(self, job_id: str) -> str:
        return f"{self._root}/{checked_id(job_id)}"

    def _video(self, job_id: str) -> str:
        return f"{self._folder(job_id)}/video"


def open_shared_files(address: str, uploads: Path, table: PartTable) -> SharedFiles:
    """The storage at an fsspec address, after a test write.

    Raises:
        JobsPlaceError: it cannot be reached or refuses, or a driver for it is not installed.
    """
    try:
        import fsspec.core

        # No cache of listings: other servers change the files.
        files, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        missing = error.name or str(error)
        raise JobsPlaceError(f"jobs_files {address} needs a package that is missing: {missing}") from error
    except (ValueError, OSError) as error:
        raise JobsPlaceError(f"jobs_files {address} cannot be used: {_line(error)}") from error
    shared = SharedFiles(files, root, uploads, table)
    # In a thread, because drivers have their own timeouts.
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(shared.probe).result(PROBE_SECONDS)
    except FutureTimeoutError:
        raise JobsPlaceError(f"jobs_files {address} does not answer within {PROBE_SECONDS} s") from None
    except Exception as error:  # exception types depend on the driver
        raise JobsPlaceError(f"jobs_files {address} refuses: {_line(error)}") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return shared


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

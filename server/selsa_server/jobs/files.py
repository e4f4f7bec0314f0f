"""The storage of jobs' videos and results, a folder or an object store, as an interface."""

import re
import secrets
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from selsa_server.errors import DetectError
from selsa_server.pipeline.sequence_run import Resume
from selsa_server.schema.detect import ErrorRecord, FrameRecord, SummaryRecord, VideoRecord

JobRecord = VideoRecord | FrameRecord | SummaryRecord | ErrorRecord

# 144 bits from the system's generator.
ID_PATTERN: Final = r"^[A-Za-z0-9_-]{24}$"


class JobError(DetectError):
    """There is no such job, an idempotency key was reused, or there is no room."""

    codes = frozenset(
        {
            "job_not_found",
            "job_cancelled",
            "idempotency_key_reused",
            "jobs_full",
            "jobs_unavailable",
            "model_gone",
        }
    )


class JobsPlaceError(Exception):
    """The storage cannot be used; the message says why."""


class RunLostError(Exception):
    """Another server has taken over the job, or it was cancelled; this run may no longer write."""


def new_job_id() -> str:
    """A random id of 144 bits, which cannot be guessed."""
    return secrets.token_urlsafe(18)


def checked_id(job_id: str) -> str:
    """The id, which may become a part of a path.

    Raises:
        JobError: it has another form.
    """
    if not re.fullmatch(ID_PATTERN, job_id):
        raise JobError("job_not_found", "There is no such job.")
    return job_id


class Results(Protocol):
    """The results of one job, opened by one run for appending."""

    @property
    def last(self) -> JobRecord | None:
        """The last record."""
        ...

    @property
    def added(self) -> int:
        """Frame records that were added since they were opened."""
        ...

    @property
    def bytes(self) -> int:
        """Their size."""
        ...

    @property
    def frames(self) -> int:
        """Frame records."""
        ...

    @property
    def resume(self) -> Resume:
        """Where the next run begins."""
        ...

    def append(self, records: Sequence[JobRecord]) -> None:
        """Append records; they are durable when this returns.

        Raises:
            RunLostError: the job belongs to another run.
        """
        ...

    def clear(self) -> None:
        """Delete all records. Raises `RunLostError` as `append` does."""
        ...


class ResultsSource(Protocol):
    """The results of one job for a reader, from some record on."""

    def open(self) -> bool:
        """Whether there are results; an open file stays readable after its deletion."""
        ...

    def block(self) -> bytes:
        """The next whole lines of NDJSON; empty when there are none yet."""
        ...

    def close(self) -> None:
        """Close them."""
        ...


class JobFiles(Protocol):
    """Videos and results by the ids of their jobs."""

    @property
    def uploads(self) -> Path:
        """The folder for uploads that may become a job's video."""
        ...

    def patience(self, elapsed: float) -> float:
        """Seconds that records may wait to be written together, `elapsed` seconds into a run."""
        ...

    def part(self, job_id: str) -> Path:
        """A file of this machine for a video that is being downloaded."""
        ...

    def adopt(self, upload: Path, job_id: str) -> int:
        """Make an upload a job's video, durably; returns its size in bytes."""
        ...

    def video(self, job_id: str) -> AbstractContextManager[Path]:
        """The video of a job as a file, as long as the context lasts."""
        ...

    def results(self, job_id: str, run: int) -> AbstractContextManager[Results]:
        """The results of a job, for one of its runs."""
        ...

    def read(self, job_id: str, after: int) -> ResultsSource:
        """The results of a job from record number `after` on."""
        ...

    def drop_video(self, job_id: str) -> None:
        """Delete a job's video."""
        ...

    def drop(self, job_id: str) -> None:
        """Delete all files of a job."""
        ...

    def sweep(self, known: Collection[str]) -> None:
        """Delete leftovers of an ended process: uploads without a job, and files of unknown jobs."""
        ...

    def close(self) -> None:
        """Close the storage."""
        ...

"""What jobs ask of the place where their videos and results are, be it a folder or a store of objects."""

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
    """The place cannot be used; the message says why."""


class RunLostError(Exception):
    """Another server has taken the job over, or it was cancelled there; what this run says is not kept."""


def new_job_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_urlsafe(18)


def checked_id(job_id: str) -> str:
    """The id, which may become a part of a path.

    Raises:
        JobError: it is none of ours.
    """
    if not re.fullmatch(ID_PATTERN, job_id):
        raise JobError("job_not_found", "There is no such job.")
    return job_id


class Results(Protocol):
    """The results of one job, opened by one run to go on writing them."""

    @property
    def last(self) -> JobRecord | None:
        """The last record that is there."""
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
        """Add records; they are kept when this returns.

        Raises:
            RunLostError: the job is not this run's any more.
        """
        ...

    def clear(self) -> None:
        """Begin anew. Raises `RunLostError` as `append` does."""
        ...


class ResultsSource(Protocol):
    """The results of one job as a reader has them, who began after some record."""

    def open(self) -> bool:
        """Whether there are any yet; where that can be, they are held from now on."""
        ...

    def block(self) -> bytes:
        """The next whole lines of NDJSON; empty when there are none yet."""
        ...

    def close(self) -> None:
        """Let go of them."""
        ...


class JobFiles(Protocol):
    """Videos and results by the ids of their jobs."""

    @property
    def uploads(self) -> Path:
        """The folder for uploads that may become a job's video."""
        ...

    def patience(self, elapsed: float) -> float:
        """Seconds that records may wait to be kept together, so long after a run began."""
        ...

    def adopt(self, upload: Path, job_id: str) -> int:
        """Make an upload a job's video, durably; returns its size in bytes."""
        ...

    def video(self, job_id: str) -> AbstractContextManager[Path]:
        """The video of a job as a file, as long as the context lasts."""
        ...

    def results(self, job_id: str, run: int) -> AbstractContextManager[Results]:
        """The results of a job, for a run of it that begins or goes on."""
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
        """Delete what an ended process left: uploads that became no job, and files of no job."""
        ...

    def close(self) -> None:
        """Let go of the place."""
        ...

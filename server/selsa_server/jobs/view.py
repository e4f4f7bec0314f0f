"""A job as clients see it."""

from datetime import UTC, datetime

from selsa_server.jobs.table import JobRow
from selsa_server.schema.detect import Problem
from selsa_server.schema.jobs import Job, JobProgress


def job_view(row: JobRow, ttl: float, now: float) -> Job:
    """The job of the wire format.

    Args:
        row: the job.
        ttl: seconds from its end until it is deleted.
        now: seconds since the epoch.
    """
    return Job(
        id=row.id,
        state=row.state,
        model=row.model,
        bundle=row.bundle,
        progress=JobProgress(done=row.done, total=row.total),
        created=datetime.fromtimestamp(row.created, UTC),
        started=_moment(row.started),
        ended=_moment(row.ended),
        estimated_end=_moment(_estimated_end(row, now)),
        expires=_moment(None if row.ended is None else row.ended + ttl),
        error=None if row.problem is None else Problem.model_validate_json(row.problem),
    )


def _estimated_end(row: JobRow, now: float) -> float | None:
    """Frames left at the speed of the frames of this run; None before its first one."""
    new = row.done - row.started_done
    if row.state != "running" or row.started is None or row.total is None or new <= 0:
        return None
    return now + (now - row.started) / new * (row.total - row.done)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

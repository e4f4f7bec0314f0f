"""The wire format of `/v1/jobs`. Results are the records of `schema.detect`."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from selsa_server.schema.detect import Problem

JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class JobProgress(BaseModel):
    """Frames of a job."""

    model_config = ConfigDict(frozen=True)

    done: int = Field(description="selected frames that have their record or do not decode")
    total: int | None = Field(description="selected frames; null until the video was looked at")


class Job(BaseModel):
    """The state of one job."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: JobState
    model: str | None = Field(
        description="its model; null: the default one, in a job that an older server accepted"
    )
    bundle: str = Field(description="sha256: and the digest of the bundle that its results are of")
    progress: JobProgress
    created: datetime
    started: datetime | None = Field(description="when the work began, or began again after a restart")
    ended: datetime | None
    estimated_end: datetime | None = Field(description="while running: at the speed so far")
    expires: datetime | None = Field(description="when an ended job is deleted")
    error: Problem | None = Field(description="why it failed")


class JobList(BaseModel):
    """One page of the jobs, the newest first."""

    model_config = ConfigDict(frozen=True)

    jobs: tuple[Job, ...]
    next: int | None = Field(description="the value of `before` for the next page; null on the last page")

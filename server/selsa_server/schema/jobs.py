"""The wire format of `/v1/jobs`. Results are the records of `schema.detect`."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from selsa_server.schema.detect import DetectParams, Problem, SummaryRecord

JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class JobParams(DetectParams):
    """The query parameters of `POST /v1/jobs`: those of `/detect`, and where to send the end."""

    webhook: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="address that a signed POST is sent to when the job has ended; its host must be allowed",
    )
    webhook_summary: bool = Field(default=False, description="put the summary record into that message")

    def detection(self) -> DetectParams:
        """The parameters of `/detect` among them."""
        return DetectParams(**self.model_dump(include=set(DetectParams.model_fields)))


class VideoAddress(BaseModel):
    """The body of `POST /v1/jobs` as JSON: where the video is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        min_length=1,
        max_length=4096,
        description="http(s) address of a video or of a finished HLS playlist; its host must be allowed",
    )


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
    source: str | None = Field(
        default=None, description="address of its video, without the query; null for an upload"
    )
    downloaded: int | None = Field(
        default=None, description="while the video is downloaded: bytes so far; the state is then queued"
    )


class WebhookData(BaseModel):
    """What a webhook is about."""

    model_config = ConfigDict(frozen=True)

    job: Job
    summary: SummaryRecord | None = Field(description="of a job that is done, if it was asked for")


class WebhookMessage(BaseModel):
    """The body of a webhook, in the form of Standard Webhooks."""

    model_config = ConfigDict(frozen=True)

    type: Literal["job.done", "job.failed", "job.cancelled"]
    timestamp: datetime = Field(description="when the job ended")
    data: WebhookData


class JobList(BaseModel):
    """One page of the jobs, the newest first."""

    model_config = ConfigDict(frozen=True)

    jobs: tuple[Job, ...]
    next: int | None = Field(description="the value of `before` for the next page; null on the last page")

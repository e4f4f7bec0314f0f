"""The tables of jobs, the same in SQLite and in PostgreSQL."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from selsa_server.schema.detect import Problem
from selsa_server.schema.jobs import Job, JobProgress, JobState

SCHEMA_VERSION: Final = 4
TABLES: Final = sa.MetaData()

# Values of `fetching` of a queued job: its video is here, has to be downloaded, or is being downloaded.
FETCHED, TO_FETCH, IN_DOWNLOAD = 0, 1, 2

# SQLite autoincrements only a column of this type.
_Number: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

JOB: Final = sa.Table(
    "job",
    TABLES,
    sa.Column("number", _Number, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("reuse_key", sa.Text, unique=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("params", sa.Text, nullable=False),
    sa.Column("bundle", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="queued"),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("done", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("total", sa.BigInteger),
    sa.Column("attempts", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("started", sa.Double),
    sa.Column("started_done", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("ended", sa.Double),
    sa.Column("problem", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("run", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("owner", sa.Text),
    sa.Column("lease", sa.Double),
    sa.Column("url", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("fetching", sa.Integer, nullable=False, server_default="0"),
    sa.Column("webhook", sa.Text),
    sa.Column("webhook_summary", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("job_state", "state", "number"),
    sqlite_autoincrement=True,
)

# With an object store: the parts of each job's results.
PART: Final = sa.Table(
    "part",
    TABLES,
    sa.Column("job", sa.Text, sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("frames", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
)

# Messages about jobs that have ended, until they are delivered. They outlive their jobs.
WEBHOOK: Final = sa.Table(
    "webhook",
    TABLES,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("next", sa.Double, nullable=False, index=True),
    sa.Column("attempts", sa.BigInteger, nullable=False, server_default="0"),
)

# SQLite stores the version in the file header instead.
VERSION: Final = sa.Table("selsa_jobs", TABLES, sa.Column("version", sa.Integer, nullable=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job.

    Attributes:
        number: counts jobs; the queue's order.
        id: what the client knows it by.
        reuse_key: a second request with the same key is the same job; None: no request is.
        fingerprint: of content, parameters and bundle.
        params: `DetectParams` as JSON.
        bundle: digest of the bundle of its results.
        state: see `JobState`.
        version: goes up with every change.
        bytes: of its files.
        done: frames that have their record or do not decode.
        total: frames that were selected, once that is known.
        attempts: starts in a row without one more frame.
        created: seconds since the epoch, as all times here.
        started: when the latest run began.
        started_done: `done` at that time.
        ended: when it was done, failed or was cancelled.
        problem: `Problem` as JSON, if it failed.
        model: its model's name; None: the default, in jobs that an older server accepted.
        run: number of claims, as a fencing token: writes of older runs are rejected.
        owner: the server that claimed it last.
        lease: until when the server holds it; None: without limit.
        url: where its video is, with any signature; None once the video is here or the job has ended.
        source: `url` without its query, kept for people.
        fetching: see the constants of this module.
        webhook: address for the message about its end.
        webhook_summary: whether the message has the summary.
    """

    number: int
    id: str
    reuse_key: str | None
    fingerprint: str
    params: str
    bundle: str
    state: JobState
    version: int
    bytes: int
    done: int
    total: int | None
    attempts: int
    created: float
    started: float | None
    started_done: int
    ended: float | None
    problem: str | None
    model: str | None
    run: int
    owner: str | None
    lease: float | None
    url: str | None = None
    source: str | None = None
    fetching: int = FETCHED
    webhook: str | None = None
    webhook_summary: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether the job is final."""
        return self.state in ("done", "failed", "cancelled")

    def view(self, ttl: float | None, now: float) -> Job:
        """The job of the wire format.

        Args:
            ttl: seconds from its end until it is deleted; None: that is not said.
            now: seconds since the epoch.
        """
        waits = self.state == "queued" and self.fetching != FETCHED
        return Job(
            id=self.id,
            state=self.state,
            model=self.model,
            bundle=self.bundle,
            progress=JobProgress(done=self.done, total=self.total),
            created=datetime.fromtimestamp(self.created, UTC),
            started=_moment(self.started),
            ended=_moment(self.ended),
            estimated_end=_moment(self._estimated_end(now)),
            expires=_moment(None if self.ended is None or ttl is None else self.ended + ttl),
            error=None if self.problem is None else Problem.model_validate_json(self.problem),
            source=self.source,
            downloaded=self.bytes if waits else None,
        )

    def _estimated_end(self, now: float) -> float | None:
        """Frames left at the speed of the frames of this run; None before its first one."""
        new = self.done - self.started_done
        if self.state != "running" or self.started is None or self.total is None or new <= 0:
            return None
        return now + (now - self.started) / new * (self.total - self.done)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

"""The tables of jobs, the same in SQLite and in PostgreSQL."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from selsa_server.schema.jobs import JobState

SCHEMA_VERSION: Final = 3
TABLES: Final = sa.MetaData()

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

    @property
    def has_ended(self) -> bool:
        """Whether the job is final."""
        return self.state in ("done", "failed", "cancelled")

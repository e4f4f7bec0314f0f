"""The state of jobs in one SQLite file: every change is a transaction that survives the process.

Nothing outside this file knows SQL.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from selsa_server.schema_jobs import JobState

__all__ = ["JobRow", "JobStore"]

SCHEMA_VERSION: Final = 2
SCHEMA: Final = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    reuse_key TEXT UNIQUE,
    fingerprint TEXT NOT NULL,
    params TEXT NOT NULL,
    bundle TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    version INTEGER NOT NULL DEFAULT 1,
    bytes INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    started REAL,
    started_done INTEGER NOT NULL DEFAULT 0,
    ended REAL,
    problem TEXT,
    model TEXT
);
CREATE INDEX job_state ON job (state, number);
"""
# From the version before to this one. Jobs without a model were for the only one that there was.
MIGRATIONS: Final = {
    1: "ALTER TABLE job ADD COLUMN model TEXT; UPDATE job SET model = json_extract(params, '$.model');",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job.

    Attributes:
        number: counts jobs; the queue's order.
        id: what the client knows it by.
        reuse_key: what makes a second request the same job; None when there is no second one to be.
        fingerprint: of content, parameters and bundle.
        params: `DetectParams` as JSON.
        bundle: digest of the bundle that its results are of.
        state: see `JobState`.
        version: goes up with every change.
        bytes: of its files.
        done: frames that have their record or do not decode.
        total: frames that were selected, once that is known.
        attempts: times in a row that work began and got no frame further.
        created: seconds since the epoch, as all times here.
        started: when the latest run began.
        started_done: `done` at that time.
        ended: when it was done, failed or was cancelled.
        problem: `Problem` as JSON, if it failed.
        model: the name of the model it is for; None: the default, of jobs that an older server took.
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

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("done", "failed", "cancelled")


class JobStore:
    """Jobs by id. Safe for several threads of one process; the folder's lock keeps other processes out."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._lock = threading.Lock()
        self._now = now
        # Nobody else writes, except a person with a tool; requests do not wait long for them.
        self._database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._make_tables()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def add(
        self,
        *,
        job_id: str,
        reuse_key: str | None,
        fingerprint: str,
        params: str,
        model: str,
        bundle: str,
        size: int,
    ) -> JobRow:
        """A new job at the end of the queue, unless one has the same `reuse_key`: then that one."""
        with self._transaction() as database:
            database.execute(
                "INSERT INTO job (id, reuse_key, fingerprint, params, model, bundle, bytes, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (reuse_key) DO NOTHING",
                (job_id, reuse_key, fingerprint, params, model, bundle, size, self._now()),
            )
            found = database.execute("SELECT * FROM job WHERE id = ? OR reuse_key = ?", (job_id, reuse_key))
            return JobRow(**dict(found.fetchone()))

    def get(self, job_id: str) -> JobRow | None:
        """The job of that id."""
        return self._one("SELECT * FROM job WHERE id = ?", job_id)

    def find(self, reuse_key: str) -> JobRow | None:
        """The job that a request with this key means."""
        return self._one("SELECT * FROM job WHERE reuse_key = ?", reuse_key)

    def claim(self) -> JobRow | None:
        """The first job of the queue, now running; None if there is none."""
        return self._one(
            "UPDATE job SET state = 'running', started = ?, started_done = done, version = version + 1,"
            " attempts = CASE WHEN done > started_done THEN 1 ELSE attempts + 1 END"
            " WHERE number = (SELECT min(number) FROM job WHERE state = 'queued') RETURNING *",
            self._now(),
        )

    def note_progress(self, job_id: str, *, done: int, total: int | None, size: int) -> None:
        """How far a running job is."""
        self._one(
            "UPDATE job SET done = ?, total = ?, bytes = ?, version = version + 1"
            " WHERE id = ? AND state = 'running' RETURNING *",
            done,
            total,
            size,
            job_id,
        )

    def start_over(self, job_id: str, bundle: str) -> None:
        """A running job begins anew with another bundle; a request for the old one is not this job."""
        self._one(
            "UPDATE job SET bundle = ?, done = 0, started_done = 0, reuse_key = NULL, version = version + 1"
            " WHERE id = ? AND state = 'running' RETURNING *",
            bundle,
            job_id,
        )

    def end(
        self, job_id: str, state: JobState, *, size: int, problem: str | None = None, keep_key: bool = True
    ) -> bool:
        """End a job that has not ended; says whether it did."""
        row = self._one(
            "UPDATE job SET state = ?, ended = ?, bytes = ?, problem = ?, version = version + 1,"
            " reuse_key = CASE WHEN ? THEN reuse_key END"
            " WHERE id = ? AND state IN ('queued', 'running') RETURNING *",
            state,
            self._now(),
            size,
            problem,
            keep_key,
            job_id,
        )
        return row is not None

    def requeue_running(self, *, crashed: bool) -> None:
        """Put what was running back in the queue, in its old place; an orderly stop is no attempt."""
        self._one(
            "UPDATE job SET state = 'queued', version = version + 1,"
            " attempts = CASE WHEN ? THEN attempts ELSE max(0, attempts - 1) END"
            " WHERE state = 'running' RETURNING *",
            crashed,
        )

    def delete(self, job_id: str) -> None:
        """Forget a job."""
        self._one("DELETE FROM job WHERE id = ? RETURNING *", job_id)

    def ended_before(self, moment: float) -> list[JobRow]:
        """Jobs that ended before a time."""
        return self._all("SELECT * FROM job WHERE ended < ?", moment)

    def ids(self) -> set[str]:
        """Every job there is."""
        return {row["id"] for row in self._rows("SELECT id FROM job")}

    def size(self) -> int:
        """Bytes of all jobs' files."""
        return int(self._rows("SELECT coalesce(sum(bytes), 0) FROM job")[0][0])

    def queued(self) -> int:
        """Jobs that wait."""
        return int(self._rows("SELECT count(*) FROM job WHERE state = 'queued'")[0][0])

    def _make_tables(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"the jobs are of version {version}, this is {SCHEMA_VERSION}")
        if version == 0:
            self._change_tables(SCHEMA, SCHEMA_VERSION)
            return
        for old in range(version, SCHEMA_VERSION):
            self._change_tables(MIGRATIONS[old], old + 1)

    def _change_tables(self, script: str, version: int) -> None:
        """In one transaction with the version, so that a kill leaves all of it or nothing."""
        self._database.executescript(f"BEGIN;{script}PRAGMA user_version = {version};COMMIT;")

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._transaction() as database:
            return database.execute(sql, values).fetchall()

    def _all(self, sql: str, *values: Any) -> list[JobRow]:
        return [JobRow(**dict(row)) for row in self._rows(sql, *values)]

    def _one(self, sql: str, *values: Any) -> JobRow | None:
        return next(iter(self._all(sql, *values)), None)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

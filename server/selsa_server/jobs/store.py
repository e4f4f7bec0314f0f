"""The state of jobs in a database: every change is a transaction that survives the process.

Only this file queries the jobs in the database.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from selsa_server.jobs.database import clock_of
from selsa_server.jobs.remote.addresses import RemoteAddress
from selsa_server.jobs.table import FETCHED, IN_DOWNLOAD, JOB, TO_FETCH, JobRow
from selsa_server.jobs.webhooks.outbox import add_message
from selsa_server.schema.detect import SummaryRecord
from selsa_server.schema.jobs import JobState

_Time = float | sa.ColumnElement[float]
_NEXT_VERSION: Final = JOB.c.version + 1
# A server works on it, or downloads its video.
_IS_HELD: Final = (JOB.c.state == "running") | ((JOB.c.state == "queued") & (JOB.c.fetching == IN_DOWNLOAD))


class JobStore:
    """Jobs by id. Safe for several threads.

    With a lease, several servers may share the database: a claimed job belongs to a server as long as it
    renews the lease; then any server may claim it. Without a lease, one server uses the database.

    Args:
        engine: what `jobs_database` opened; closed with the store.
        owner: a unique name of this server.
        lease: seconds that a claim holds; None: until the job ends or is put back.
        ttl: seconds until an ended job is deleted, for messages about it; None: that is not said.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        owner: str = "",
        lease: float | None = None,
        ttl: float | None = None,
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._lease = lease
        shared = engine.dialect.name == "postgresql"
        self._now = clock_of(engine)
        self._ttl = ttl
        self._insert: Callable[..., Any] = postgresql.insert if shared else sqlite.insert

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def add(
        self,
        *,
        job_id: str,
        reuse_key: str | None,
        fingerprint: str,
        params: str,
        model: str,
        bundle: str,
        size: int = 0,
        video: RemoteAddress | None = None,
        webhook: str | None = None,
        webhook_summary: bool = False,
    ) -> JobRow:
        """A new job at the end of the queue, unless one has the same `reuse_key`: then that one.

        With `video`, its video has to be downloaded from there first.
        """
        values = {
            "id": job_id,
            "reuse_key": reuse_key,
            "fingerprint": fingerprint,
            "params": params,
            "model": model,
            "bundle": bundle,
            "bytes": size,
            "created": self._now(),
            "webhook": webhook,
            "webhook_summary": webhook_summary,
        }
        if video is not None:
            values |= {"url": video.url, "source": str(video), "fetching": TO_FETCH}
        insert = self._insert(JOB).values(**values).on_conflict_do_nothing(index_elements=["reuse_key"])
        either = JOB.c.id == job_id
        if reuse_key is not None:
            either |= JOB.c.reuse_key == reuse_key
        with self._engine.begin() as connection:
            connection.execute(insert)
            return JobRow(**connection.execute(sa.select(JOB).where(either)).mappings().one())

    def get(self, job_id: str) -> JobRow | None:
        """The job of that id."""
        return self._one(sa.select(JOB).where(JOB.c.id == job_id))

    def newest(self, limit: int, before: int | None = None) -> list[JobRow]:
        """The newest jobs, `limit` at most, with a number below `before`."""
        query = sa.select(JOB).order_by(JOB.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(JOB.c.number < before)
        with self._engine.begin() as connection:
            return [JobRow(**row) for row in connection.execute(query).mappings()]

    def find(self, reuse_key: str) -> JobRow | None:
        """The job with this reuse key."""
        return self._one(sa.select(JOB).where(JOB.c.reuse_key == reuse_key))

    def claim(self, models: Collection[str] | None = None) -> JobRow | None:
        """Claim the first free job; None if there is none.

        Args:
            models: names of the models to claim jobs for; None: any.
        """
        free = (JOB.c.state == "queued") & (JOB.c.fetching == FETCHED)
        if self._lease is not None:
            free |= (JOB.c.state == "running") & (JOB.c.lease < self._now())
        if models is not None:
            free &= JOB.c.model.is_(None) | JOB.c.model.in_(models)
        further = JOB.c.done > JOB.c.started_done
        return self._change(
            _is_first(free),
            state="running",
            started=self._now(),
            started_done=JOB.c.done,
            attempts=sa.case((further, 1), else_=JOB.c.attempts + 1),
            run=JOB.c.run + 1,
            owner=self._owner,
            lease=self._until(),
        )

    def claim_download(self) -> JobRow | None:
        """Claim the first job whose video has to be downloaded; None if there is none."""
        free = JOB.c.fetching == TO_FETCH
        if self._lease is not None:
            free |= (JOB.c.fetching == IN_DOWNLOAD) & (JOB.c.lease < self._now())
        return self._change(
            _is_first(free & (JOB.c.state == "queued")),
            fetching=IN_DOWNLOAD,
            run=JOB.c.run + 1,
            owner=self._owner,
            lease=self._until(),
        )

    def note_download(self, job_id: str, *, run: int, size: int) -> bool:
        """Store how much of the video is here; False if the job belongs to another run or was cancelled."""
        return self._change(_of_run(job_id, run), bytes=size, lease=self._until()) is not None

    def end_download(self, job_id: str, *, run: int, size: int) -> bool:
        """The video is here; the job waits for its turn, and its address with any signature is forgotten."""
        row = self._change(_of_run(job_id, run), fetching=FETCHED, bytes=size, url=None, lease=None)
        return row is not None

    def renew(self, runs: Collection[tuple[str, int]]) -> set[str]:
        """Renew the leases of these runs (id and `run`); returns the ids of those still held."""
        ours = sa.tuple_(JOB.c.id, JOB.c.run).in_(list(runs)) & _IS_HELD
        held = sa.update(JOB).where(ours).values(lease=self._until()).returning(JOB.c.id)
        with self._engine.begin() as connection:
            return set(connection.execute(held).scalars())

    def note_progress(self, job_id: str, *, run: int, done: int, total: int | None, size: int) -> bool:
        """Store the progress of a run; False if the job belongs to another run."""
        ours = _of_run(job_id, run)
        found = self._change(ours, done=done, total=total, bytes=size, lease=self._until())
        return found is not None

    def start_over(self, job_id: str, bundle: str, *, run: int) -> None:
        """Restart a running job with another bundle; requests for the old bundle no longer match it."""
        self._change(_of_run(job_id, run), bundle=bundle, done=0, started_done=0, reuse_key=None)

    def end(
        self,
        job_id: str,
        state: JobState,
        *,
        size: int,
        run: int | None = None,
        problem: str | None = None,
        keep_key: bool = True,
        summary: SummaryRecord | None = None,
    ) -> bool:
        """End a job that has not ended, or only that `run` of it; False if it was not.

        If it has a webhook, the message about its end, with `summary` if it was asked for, is stored in the
        same transaction.
        """
        which = (JOB.c.id == job_id) & JOB.c.state.in_(("queued", "running"))
        change = sa.update(JOB).where(which if run is None else _of_run(job_id, run))
        change = change.values(
            version=_NEXT_VERSION,
            state=state,
            ended=self._now(),
            bytes=size,
            problem=problem,
            lease=None,
            url=None,
            **({} if keep_key else {"reuse_key": None}),
            # A server that was killed after the last record may not have stored the progress.
            **({} if summary is None else {"done": _frames(summary), "total": _frames(summary)}),
        )
        with self._engine.begin() as connection:
            found = connection.execute(change.returning(*JOB.c)).mappings().one_or_none()
            if found is not None and found["webhook"] is not None:
                add_message(connection, JobRow(**found), summary, self._ttl)
        return found is not None

    def requeue_running(self, *, crashed: bool) -> None:
        """Put the running jobs of this server back in the queue; an orderly stop is no attempt."""
        which = JOB.c.state == "running"
        if self._lease is not None:
            which &= JOB.c.owner == self._owner
        fewer = sa.case((JOB.c.attempts > 0, JOB.c.attempts - 1), else_=0)
        attempts = JOB.c.attempts if crashed else fewer
        change = sa.update(JOB).where(which).values(state="queued", attempts=attempts, lease=None)
        downloads = (JOB.c.state == "queued") & (JOB.c.fetching == IN_DOWNLOAD)
        if self._lease is not None:
            downloads &= JOB.c.owner == self._owner
        with self._engine.begin() as connection:
            connection.execute(change.values(version=_NEXT_VERSION))
            connection.execute(sa.update(JOB).where(downloads).values(fetching=TO_FETCH, lease=None))

    def delete(self, job_id: str) -> None:
        """Forget a job."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(JOB).where(JOB.c.id == job_id))

    def ended_for(self, seconds: float) -> list[JobRow]:
        """Jobs that ended longer ago than that."""
        return self._all(sa.select(JOB).where(JOB.c.ended < self._now() - seconds))

    def ids(self) -> set[str]:
        """Every job there is."""
        with self._engine.begin() as connection:
            return set(connection.execute(sa.select(JOB.c.id)).scalars())

    def size(self) -> int:
        """Bytes of all jobs' files."""
        return self._count(sa.select(sa.func.coalesce(sa.func.sum(JOB.c.bytes), 0)))

    def queued(self) -> int:
        """Jobs that wait."""
        return self._count(sa.select(sa.func.count()).where(JOB.c.state == "queued"))

    def _until(self) -> _Time | None:
        return None if self._lease is None else self._now() + self._lease

    def _change(self, which: sa.ColumnElement[bool], **values: Any) -> JobRow | None:
        change = sa.update(JOB).where(which).values(version=_NEXT_VERSION, **values)
        return self._one(change.returning(*JOB.c))

    def _one(self, statement: sa.Executable) -> JobRow | None:
        return next(iter(self._all(statement)), None)

    def _all(self, statement: sa.Executable) -> list[JobRow]:
        with self._engine.begin() as connection:
            return [JobRow(**row) for row in connection.execute(statement).mappings()]

    def _count(self, statement: sa.Executable) -> int:
        with self._engine.begin() as connection:
            return int(connection.execute(statement).scalar_one())


def _frames(summary: SummaryRecord) -> int:
    """Frames that were selected."""
    return summary.emitted + summary.corrupt


def _of_run(job_id: str, run: int) -> sa.ColumnElement[bool]:
    return (JOB.c.id == job_id) & (JOB.c.run == run) & _IS_HELD


def _is_first(free: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """The first free job; SQLite has no such locks and needs none: each of its transactions is alone."""
    first = sa.select(JOB.c.number).where(free).order_by(JOB.c.number).limit(1)
    return JOB.c.number == first.with_for_update(skip_locked=True).scalar_subquery()

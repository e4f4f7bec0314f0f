"""Results in an object store, which cannot append: a job's results are parts, listed in a table.

Each part has a unique name, and counts once the table lists it. So a server that lost the job can write
without harm, and readers see complete parts only.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import sqlalchemy as sa

from selsa_server.jobs.files import JobRecord, RunLostError
from selsa_server.jobs.table import JOB, PART
from selsa_server.pipeline.sequence_run import Resume
from selsa_server.schema.detect import FrameRecord, parse_record

_COLUMNS: Final = (PART.c.first, PART.c.records, PART.c.frames, PART.c.bytes, PART.c.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some records of a job's results.

    Attributes:
        first: number of its first record in the results.
        records: how many it has.
        frames: frame records of them.
        bytes: its size.
        name: where it is.
    """

    first: int
    records: int
    frames: int
    bytes: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """The operations of an object store that parts need.

    Attributes:
        put: keeps bytes under a name.
        get: gives them back; raises FileNotFoundError when they are gone.
    """

    put: Callable[[str, bytes], None]
    get: Callable[[str], bytes]


class PartTable:
    """The table of parts of the results of jobs."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def all(self, job_id: str) -> list[Part]:
        """The parts of a job in order."""
        return self._parts(sa.select(*_COLUMNS).where(PART.c.job == job_id).order_by(PART.c.first))

    def at(self, job_id: str, position: int) -> Part | None:
        """The part with record number `position`; None if there is none yet."""
        here = (PART.c.job == job_id) & (PART.c.first + PART.c.records > position)
        found = self._parts(sa.select(*_COLUMNS).where(here).order_by(PART.c.first).limit(1))
        return found[0] if found else None

    def add(self, job_id: str, run: int, part: Part) -> None:
        """List a part. Raises `RunLostError` if the job belongs to another run."""
        with self._of_run(job_id, run) as connection:
            values = {name: getattr(part, name) for name in Part.__slots__}
            connection.execute(sa.insert(PART).values(job=job_id, **values))

    def clear(self, job_id: str, run: int) -> None:
        """Remove all parts from the table. Raises `RunLostError` as `add` does."""
        with self._of_run(job_id, run) as connection:
            connection.execute(sa.delete(PART).where(PART.c.job == job_id))

    @contextmanager
    def _of_run(self, job_id: str, run: int) -> Iterator[sa.Connection]:
        """A transaction that locks the job for the run."""
        ours = (JOB.c.id == job_id) & (JOB.c.run == run) & (JOB.c.state == "running")
        with self._engine.begin() as connection:
            hold = sa.select(JOB.c.number).where(ours).with_for_update()
            if connection.execute(hold).scalar_one_or_none() is None:
                raise RunLostError
            yield connection

    def _parts(self, statement: sa.Select[Any]) -> list[Part]:
        with self._engine.begin() as connection:
            return [Part(**row) for row in connection.execute(statement).mappings()]


class ResultParts:
    """`Results` of one job, opened by one run for appending."""

    def __init__(self, store: ObjectStore, table: PartTable, job_id: str, run: int) -> None:
        self._store = store
        self._table = table
        self._job = job_id
        self._run = run
        self._records = self._last_frame = 0
        self.bytes = self.frames = self.added = 0
        self.last: JobRecord | None = None
        self._forget()
        self._read(table.all(job_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    @property
    def resume(self) -> Resume:
        """Where the next run begins."""
        return Resume(emitted=self.frames, last=self._last_frame)

    def append(self, records: Sequence[JobRecord]) -> None:
        """Add records as one part; see the protocol."""
        if not records:
            return
        body = b"".join(record.model_dump_json().encode() + b"\n" for record in records)
        name = f"{self._job}/{self._records:010d}-{self._run}-{secrets.token_hex(4)}.ndjson"
        frames = sum(isinstance(record, FrameRecord) for record in records)
        part = Part(first=self._records, records=len(records), frames=frames, bytes=len(body), name=name)
        self._store.put(name, body)
        self._table.add(self._job, self._run, part)
        self._count(part)
        self.added += frames
        for record in records:
            self._note(record)

    def clear(self) -> None:
        """Delete all records; see the protocol."""
        self._table.clear(self._job, self._run)
        self._forget()

    def _forget(self) -> None:
        self._records = self.bytes = self.frames = 0
        self._last_frame = -1
        self.last = None

    def _read(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self._count(part)
        # The last frame's index is in the last part that has one.
        since = next((n for n in range(len(parts) - 1, -1, -1) if parts[n].frames), 0)
        for part in parts[since:]:
            for line in self._store.get(part.name).splitlines():
                self._note(parse_record(line))

    def _count(self, part: Part) -> None:
        self._records += part.records
        self.frames += part.frames
        self.bytes += part.bytes

    def _note(self, record: JobRecord) -> None:
        self.last = record
        if isinstance(record, FrameRecord):
            self._last_frame = record.index


class PartsReader:
    """`ResultsSource` of one job from record number `after` on."""

    def __init__(self, store: ObjectStore, table: PartTable, job_id: str, after: int) -> None:
        self._store = store
        self._table = table
        self._job = job_id
        self._position = after

    def open(self) -> bool:
        """Whether there are results. Deleted parts are gone for readers too."""
        return self._table.at(self._job, 0) is not None

    def block(self) -> bytes:
        """The records of the next part that were not read yet."""
        part = self._table.at(self._job, self._position)
        if part is None:
            return b""
        try:
            body = self._store.get(part.name)
        except FileNotFoundError:
            return b""
        lines = body.splitlines(keepends=True)[max(0, self._position - part.first) :]
        self._position = part.first + part.records
        return b"".join(lines)

    def close(self) -> None:
        """Nothing to do: no resources are held."""

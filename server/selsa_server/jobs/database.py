"""Opening the database of jobs: one file of SQLite, or PostgreSQL when several servers share it."""

import errno
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from selsa_server.jobs.table import JOB, SCHEMA_VERSION, TABLES, VERSION, WEBHOOK

# Statements from each version to the next. Jobs without a model were for the only model.
MIGRATIONS: Final = {
    1: (
        "ALTER TABLE job ADD COLUMN model TEXT",
        "UPDATE job SET model = json_extract(params, '$.model')",
    ),
    2: (
        "ALTER TABLE job ADD COLUMN run BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE job ADD COLUMN owner TEXT",
        "ALTER TABLE job ADD COLUMN lease DOUBLE",
    ),
    3: (
        "ALTER TABLE job ADD COLUMN url TEXT",
        "ALTER TABLE job ADD COLUMN source TEXT",
        "ALTER TABLE job ADD COLUMN fetching INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE job ADD COLUMN webhook TEXT",
        "ALTER TABLE job ADD COLUMN webhook_summary BOOLEAN NOT NULL DEFAULT 0",
    ),
}
# Advisory lock: servers that start together create the tables one after the other.
LOCK_NUMBER: Final = 7355608
CONNECT_SECONDS: Final = 10
# SQLite says the second one where a limit on the size of files stops it.
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE})


class JobsDatabaseError(Exception):
    """The database cannot be used; the message says why and holds no password."""


def open_sqlite(path: Path) -> sa.Engine:
    """The database in a file, made or migrated where it has to be.

    Raises:
        JobsDatabaseError: its jobs are of a newer version.
    """
    # One connection, with a queue: the folder's lock keeps other servers out, and requests do not wait long
    # for another program that reads the file.
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=sa.pool.QueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": 1.0, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "handle_error", _name_full_disk)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            found = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            _make_sqlite_tables(connection, found)
    except BaseException:
        engine.dispose()
        raise
    return engine


def open_postgresql(address: str) -> sa.Engine:
    """The database at an address `postgresql://...`, its tables made where they have to be.

    Raises:
        JobsDatabaseError: it does not let us in, its jobs are of another version, or psycopg is missing.
    """
    try:
        url = sa.make_url(address).set(drivername="postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError):
        raise JobsDatabaseError("jobs_database is no address such as postgresql://USER@HOST/NAME") from None
    place = f"the jobs' database {url.host or 'localhost'}:{url.port or 5432}/{url.database}"
    try:
        engine = sa.create_engine(
            url,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "selsa"},
        )
    except ModuleNotFoundError as error:
        raise JobsDatabaseError(
            f"{place} needs the cluster extra: pip install 'selsa[cluster]' ({error.name} is missing)"
        ) from error
    try:
        with engine.begin() as connection:
            _make_shared_tables(connection, place)
    except sa.exc.DBAPIError as error:
        engine.dispose()
        raise JobsDatabaseError(f"{place} refuses: {_reason(error)}") from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def clock_of(engine: sa.Engine) -> Callable[[], float | sa.ColumnElement[float]]:
    """The clock of times in the database: its own if servers share it, whose clocks differ, else ours.

    Times are seconds since the epoch.
    """
    return _database_time if engine.dialect.name == "postgresql" else time.time


def _database_time() -> sa.ColumnElement[float]:
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    # sqlite3 would start transactions by itself, later than needed here.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _name_full_disk(context: sa.ExceptionContext) -> OSError | None:
    """The error that SQLAlchemy raises instead of its own: for a full disk an OSError, as it is for files."""
    error = context.original_exception
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) in _FULL:
        return OSError(errno.ENOSPC, f"the database of jobs: {error}")
    return None


def _make_sqlite_tables(connection: sa.Connection, found: int) -> None:
    """In one transaction with the version, so that a kill leaves all of it or nothing."""
    if found > SCHEMA_VERSION:
        raise JobsDatabaseError(f"the jobs are of version {found}, this is {SCHEMA_VERSION}")
    for old in range(found, SCHEMA_VERSION) if found else ():
        for statement in MIGRATIONS[old]:
            connection.exec_driver_sql(statement)
    TABLES.create_all(connection, tables=[JOB, WEBHOOK])
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _make_shared_tables(connection: sa.Connection, place: str) -> None:
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_NUMBER)))
    TABLES.create_all(connection)
    found = connection.execute(sa.select(VERSION.c.version)).scalar_one_or_none()
    if found is None:
        connection.execute(sa.insert(VERSION).values(version=SCHEMA_VERSION))
    elif found != SCHEMA_VERSION:
        raise JobsDatabaseError(f"the jobs in {place} are of version {found}, this is {SCHEMA_VERSION}")


def _reason(error: sa.exc.DBAPIError) -> str:
    """The driver's message on one line; it names host and user, no password."""
    return " ".join(str(error.orig).split())[:300]

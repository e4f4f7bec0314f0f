"""Servers that share a database: one server works on a job, and another one if that server dies."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from selsa_server.jobs.database import JobsDatabaseError, open_postgresql, open_sqlite
from selsa_server.jobs.files import RunLostError
from selsa_server.jobs.shared_results import Part, PartTable
from selsa_server.jobs.store import JobStore
from selsa_server.jobs.table import JobRow

OpenStore = Callable[..., JobStore]


@pytest.fixture
def open_store(database: str) -> Iterator[OpenStore]:
    opened: list[JobStore] = []

    def open_one(owner: str, lease: float = 30) -> JobStore:
        store = JobStore(open_postgresql(database), owner=owner, lease=lease)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


def add(store: JobStore, job_id: str, *, key: str | None = None, model: str = "fake") -> JobRow:
    return store.add(
        job_id=job_id, reuse_key=key, fingerprint="", params="{}", model=model, bundle="b", size=7
    )


def claimed(store: JobStore) -> JobRow:
    row = store.claim()
    assert row is not None
    return row


def test_servers_that_claim_concurrently_get_every_job_exactly_once(open_store: OpenStore) -> None:
    stores = [open_store(f"server-{number}") for number in range(3)]
    for number in range(60):
        add(stores[0], f"job-{number}")

    def claim_all(store: JobStore) -> list[str]:
        return [row.id for row in iter(store.claim, None)]

    with ThreadPoolExecutor(9) as pool:
        found = Counter(job for jobs in pool.map(claim_all, stores * 3) for job in jobs)
    assert found == {f"job-{number}": 1 for number in range(60)}


def test_a_claim_holds_until_its_lease_ends_and_then_one_other_server_gets_the_job(
    open_store: OpenStore,
) -> None:
    dead, *others = (open_store(name, lease=1) for name in ("dead", "second", "third"))
    add(dead, "job")
    first = claimed(dead)
    assert [store.claim() for store in others] == [None, None]
    time.sleep(1.1)
    with ThreadPoolExecutor(2) as pool:
        rows = [row for row in pool.map(JobStore.claim, others) if row is not None]
    assert [(row.id, row.run, row.attempts) for row in rows] == [("job", first.run + 1, 2)]
    assert not dead.note_progress("job", run=first.run, done=5, total=9, size=1), (
        "writes of the old run are rejected"
    )
    assert not dead.end("job", "done", size=1, run=first.run)
    assert dead.renew([("job", first.run)]) == set()


def test_a_server_that_renews_keeps_its_jobs(open_store: OpenStore) -> None:
    alive, other = open_store("alive", lease=1), open_store("other", lease=1)
    add(alive, "job")
    row = claimed(alive)
    for _ in range(4):
        time.sleep(0.4)
        assert alive.renew([("job", row.run)]) == {"job"}
        assert other.claim() is None


def test_a_clean_shutdown_releases_only_the_jobs_of_that_server(open_store: OpenStore) -> None:
    leaving, staying = open_store("leaving"), open_store("staying")
    add(leaving, "a")
    add(leaving, "b")
    assert (claimed(leaving).id, claimed(staying).id) == ("a", "b")
    leaving.requeue_running(crashed=False)
    again = claimed(staying)
    assert (again.id, again.attempts) == ("a", 1), "an orderly stop is no attempt"
    assert staying.claim() is None


def test_a_server_claims_jobs_of_its_own_models_only(open_store: OpenStore) -> None:
    store = open_store("one")
    add(store, "large", model="large")
    add(store, "small", model="small")
    row = store.claim(["small"])
    assert row is not None and row.id == "small"
    assert store.claim(["small"]) is None


def test_two_servers_that_get_the_same_request_make_one_job(open_store: OpenStore) -> None:
    stores = [open_store("one"), open_store("two")]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda n: add(stores[n % 2], f"job-{n}", key="same"), range(8)))
    assert len({row.id for row in rows}) == 1


def test_servers_that_start_together_make_the_tables_once(database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for engine in pool.map(open_postgresql, [database] * 4):
            engine.dispose()


def test_records_of_a_run_that_lost_its_job_are_ignored(open_store: OpenStore, database: str) -> None:
    store = open_store("first", lease=1)
    add(store, "job")
    old = claimed(store)
    engine = open_postgresql(database)
    table = PartTable(engine)
    part = Part(first=0, records=2, frames=1, bytes=10, name="a")
    table.add("job", old.run, part)
    time.sleep(1.1)
    new = claimed(open_store("second"))
    late = Part(first=2, records=1, frames=1, bytes=5, name="late")
    with pytest.raises(RunLostError):
        table.add("job", old.run, late)
    with pytest.raises(RunLostError):
        table.clear("job", old.run)
    table.add("job", new.run, late)
    assert table.all("job") == [part, late]
    assert table.at("job", 1) == part and table.at("job", 2) == late and table.at("job", 3) is None
    store.delete("job")
    assert table.all("job") == []
    engine.dispose()


def test_a_newer_servers_jobs_are_not_touched(database: str) -> None:
    engine = open_postgresql(database)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE selsa_jobs SET version = 99"))
    engine.dispose()
    with pytest.raises(JobsDatabaseError, match="version 99"):
        open_postgresql(database)


def test_both_databases_give_the_same_jobs(open_store: OpenStore, tmp_path: Path) -> None:
    alone = JobStore(open_sqlite(tmp_path / "jobs.sqlite3"))
    told = []
    for store in (open_store("server"), alone):
        add(store, "a", key="k")
        add(store, "b")
        assert add(store, "c", key="k").id == "a"
        row = claimed(store)
        store.note_progress("a", run=row.run, done=3, total=8, size=11)
        store.start_over("a", "other", run=row.run)
        store.end("b", "cancelled", size=0, keep_key=False)
        store.end("a", "failed", size=4, run=row.run, problem="{}", keep_key=False)
        rows = [store.get(job_id) for job_id in ("a", "b")]
        told.append(
            [
                (r.number, r.state, r.version, r.bytes, r.done, r.total, r.attempts, r.reuse_key, r.bundle)
                for r in rows
                if r is not None
            ]
        )
        assert (store.size(), store.queued(), store.ids()) == (4, 0, {"a", "b"})
        assert store.ended_for(60) == [] and len(store.ended_for(-60)) == 2
    assert told[0] == told[1]
    alone.close()

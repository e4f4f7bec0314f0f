"""Jobs outlive the process: a real server is killed with SIGKILL, at any moment, and started again."""

import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from live_server import wait_until
from media import write_video

from selsa_server.api.app import build_app
from selsa_server.jobs.database import open_sqlite
from selsa_server.jobs.store import JobStore
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.settings import ServerSettings

FRAMES = 48


@pytest.fixture(scope="module")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle that takes a few milliseconds for a frame."""
    from selsa_bundle.preprocess import Preprocess
    from selsa_export.bundle import export_bundle
    from selsa_export.parity.frames import procedural_frames
    from selsa_training.checkpoint.checkpoint import load_checkpoint, save_checkpoint
    from selsa_training.checkpoint.untrained import untrained_tensors
    from selsa_training.config import CONFIGS

    folder = tmp_path_factory.mktemp("small")
    preprocess = Preprocess(long_side=96, short_side=64)
    config = CONFIGS["r18-dc5"].model_copy(update={"preprocess": preprocess})
    save_checkpoint(folder / "checkpoint", config, untrained_tensors(config, 1), "untrained, seed 1")
    export_bundle(load_checkpoint(folder / "checkpoint"), folder / "bundle", procedural_frames(2), "a test")
    return folder / "bundle"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, FRAMES, size=(96, 64), codec="mpeg4").read_bytes()


@contextmanager
def serving(command: list[str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server that is killed at the end of the block; no process that it began outlives it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("Serving "))
            address = line.split()[-1]
            # Its jobs are opened after the engines' first frame; requests for jobs wait for that.
            httpx.get(f"{address}/v1/jobs", timeout=60)
            yield address, process
        finally:
            below = [] if process.poll() is not None else psutil.Process(process.pid).children(recursive=True)
            process.kill()
    wait_until(lambda: not any(each.is_running() for each in below))


def get(address: str, target: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(address + target).json()
    return found


def results(address: str, job: str) -> list[dict[str, Any]]:
    text = httpx.get(f"{address}{job}/results").text
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def ends(address: str, job: str) -> None:
    wait_until(lambda: get(address, job)["state"] == "done")


def job_for(address: str, video: bytes, **params: str | int) -> str:
    location: str = httpx.post(f"{address}/v1/jobs", content=video, params=params).headers["location"]
    return location


def frames_alone(address: str, video: bytes, **params: str | int) -> list[dict[str, Any]]:
    response = httpx.post(f"{address}/detect", content=video, params=params, timeout=60)
    found: list[dict[str, Any]] = response.json()["frames"]
    return found


def written(spool: Path, job: str) -> list[dict[str, Any]]:
    """The whole records on disk, after which a half one is put, as a kill in the middle of a write leaves."""
    path = spool / "selsa-jobs" / f"{job.rsplit('/')[-1]}.ndjson"
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    if not found or found[-1]["type"] == "frame":
        with path.open("ab") as file:
            file.write(b'{"type":"frame","index":')
    return found


@pytest.mark.parametrize(
    "asked",
    [{"mode": "sequence"}, {"mode": "online"}, {"tracks": "true"}, {"mode": "online", "tracks": "true"}],
    ids=lambda asked: "-".join(asked.values()),
)
def test_after_kills_at_any_moment_no_record_is_lost_doubled_or_changed(
    tmp_path: Path, video: bytes, asked: dict[str, str]
) -> None:
    command = [sys.executable, str(Path(__file__).parents[1] / "fake_server.py"), str(tmp_path)]
    with serving(command) as (address, _):
        done = job_for(address, video, stride=20)
        ends(address, done)
        finished = results(address, done)
        jobs = [job_for(address, video, **asked), job_for(address, video, stride=7)]
        time.sleep(random.uniform(0, 0.3))  # leaving the block kills
    for _ in range(2):
        before = [written(tmp_path, job) for job in jobs]
        with serving(command) as (address, _):
            now = [results(address, job) for job in jobs]
            assert [found[: len(was)] for found, was in zip(now, before, strict=True)] == before
            time.sleep(random.uniform(0, 0.3))
    before = [written(tmp_path, job) for job in jobs]
    with serving(command) as (address, _):
        assert results(address, done) == finished
        for job, was in zip(jobs, before, strict=True):
            ends(address, job)
            assert results(address, job)[: len(was)] == was
        assert results(address, jobs[0])[1:-1] == frames_alone(address, video, **asked)
        assert results(address, jobs[1])[1:-1] == frames_alone(address, video, stride=7)
        assert get(address, jobs[0])["progress"] == {"done": FRAMES, "total": FRAMES}
        assert job_for(address, video, **asked) == jobs[0]


@pytest.mark.slow
def test_after_a_kill_a_job_on_real_engines_gives_the_same_results(
    small_bundle: Path, video: bytes, tmp_path: Path
) -> None:
    command = [str(Path(sys.executable).parent / "selsa"), "serve", "--bundle", str(small_bundle)]
    command += ["--port", "0", "--spool-dir", str(tmp_path)]
    with serving(command) as (address, process):
        job = job_for(address, video, reference_frames=2)
        wait_until(lambda: get(address, job)["progress"]["done"] > random.randrange(2, 24))
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    assert below
    wait_until(lambda: not any(each.is_running() for each in below))
    before = written(tmp_path, job)
    with serving(command) as (address, _):
        ends(address, job)
        after, alone = results(address, job), frames_alone(address, video, reference_frames=2)
    assert len(before) > 1
    assert after[: len(before)] == before
    assert after[1:-1] == alone
    assert (after[-1]["type"], after[-1]["emitted"]) == ("summary", FRAMES)


@contextmanager
def running(engines: FakeEngines, settings: ServerSettings, digest: str = "0") -> Iterator[TestClient]:
    """The application in this process, with the bundle of some digest."""
    pipeline = fake_pipeline(engines)
    bundle = replace(pipeline.bundle, digest="sha256:" + digest * 64)
    with TestClient(
        build_app(DetectionPipeline(bundle, pipeline.options), settings, fork_server=FORK_SERVER)
    ) as client:
        yield client


def test_an_orderly_stop_leaves_jobs_to_the_next_server(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(seconds_per_frame=0.02), settings) as client:
        job = client.post("/v1/jobs", content=video).headers["location"]
        wait_until(lambda: client.get(job).json()["progress"]["done"] > 5)
    engines = FakeEngines()
    with running(engines, settings) as client:
        wait_until(lambda: client.get(job).json()["state"] == "done")
        records = [json.loads(line) for line in client.get(f"{job}/results").text.splitlines()]
    assert [record["index"] for record in records[1:-1]] == list(range(FRAMES))
    assert engines.frames_run < FRAMES, "what was done is not done again"


def test_with_another_bundle_a_job_starts_over(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(seconds_per_frame=0.02), settings) as client:
        job = client.post("/v1/jobs", content=video).headers["location"]
        wait_until(lambda: client.get(job).json()["progress"]["done"] > 5)
    with running(FakeEngines(), settings, digest="1") as client:
        wait_until(lambda: client.get(job).json()["state"] == "done")
        records = [json.loads(line) for line in client.get(f"{job}/results").text.splitlines()]
        assert client.post("/v1/jobs", content=video).headers["location"] != job
    assert records[0]["model"]["bundle"] == "sha256:" + "1" * 64
    assert [record["index"] for record in records[1:-1]] == list(range(FRAMES))


def test_files_of_unknown_jobs_are_deleted_and_other_files_are_not(
    settings: ServerSettings, tmp_path: Path
) -> None:
    assert settings.jobs_dir is not None
    settings.jobs_dir.mkdir()
    lost = [
        settings.jobs_dir / name for name in ("x" * 24 + ".video", "y" * 24 + ".ndjson", "selsa-1.upload")
    ]
    kept = [settings.jobs_dir / name for name in ("mine.ndjson", "holiday.video", "notes.txt")]
    for path in (*lost, *kept):
        path.write_bytes(b"x")
    with running(FakeEngines(), settings):
        assert [path.exists() for path in (*lost, *kept)] == [False] * 3 + [True] * 3


def test_a_job_whose_last_progress_a_kill_prevented_ends_with_all_frames(
    settings: ServerSettings, video: bytes
) -> None:
    """The records were written and the server was killed before it stored the progress and the state."""
    with running(FakeEngines(), settings) as client:
        job = client.post("/v1/jobs", content=video).headers["location"]
        wait_until(lambda: client.get(job).json()["state"] == "done")
    assert settings.jobs_dir is not None
    with closing(sqlite3.connect(settings.jobs_dir / "jobs.sqlite3")) as database, database:
        database.execute("UPDATE job SET state = 'running', ended = NULL, done = 27")
    with running(FakeEngines(), settings) as client:
        wait_until(lambda: client.get(job).json()["state"] == "done")
        assert client.get(job).json()["progress"] == {"done": FRAMES, "total": FRAMES}


def test_a_job_that_repeatedly_ends_the_process_fails(tmp_path: Path) -> None:
    store = JobStore(open_sqlite(tmp_path / "jobs.sqlite3"))
    store.add(job_id="a", reuse_key=None, fingerprint="", params="{}", model="a", bundle="", size=1)
    attempts = []
    for _ in range(3):
        claimed = store.claim()
        assert claimed is not None
        attempts.append(claimed.attempts)
        store.requeue_running(crashed=True)
    assert attempts == [1, 2, 3]
    claimed = store.claim()
    assert claimed is not None
    assert store.note_progress("a", run=claimed.run, done=5, total=10, size=1)
    assert not store.note_progress("a", run=claimed.run - 1, done=4, total=10, size=1)
    store.requeue_running(crashed=True)
    again = store.claim()
    assert again is not None and again.attempts == 1, "a frame further, the count begins anew"
    store.requeue_running(crashed=False)
    stopped = store.claim()
    assert stopped is not None and stopped.attempts == 1, "an orderly stop is no attempt"
    store.close()


def test_server_and_jobs_survive_a_temporary_disk_failure(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(), settings) as client:
        assert settings.jobs_dir is not None
        # Another connection that holds the lock for longer than SQLite waits is as good as a failing disk.
        other = sqlite3.connect(settings.jobs_dir / "jobs.sqlite3", isolation_level=None)
        job = client.post("/v1/jobs", content=video).headers["location"]
        wait_until(lambda: client.get(job).json()["state"] == "done")
        other.execute("BEGIN EXCLUSIVE")
        assert client.post("/v1/jobs", content=video, params={"stride": 2}).status_code == 500
        other.execute("ROLLBACK")
        other.close()
        second = client.post("/v1/jobs", content=video, params={"stride": 2}).headers["location"]
        wait_until(lambda: client.get(second).json()["state"] == "done")

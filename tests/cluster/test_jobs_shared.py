"""Jobs of servers that share a database and an object store: any of them answers, and one may die."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from live_server import wait_until
from media import write_video
from pydantic import SecretStr
from typer.testing import CliRunner
from web_host import Page, web_host

from selsa_server.cli.serve import serve
from selsa_server.jobs.database import open_postgresql
from selsa_server.jobs.files import JobsPlaceError, new_job_id
from selsa_server.jobs.place import open_place
from selsa_server.jobs.store import JobStore
from selsa_server.settings import ServerSettings

FRAMES = 30
SERVER = Path(__file__).with_name("shared_server.py")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, FRAMES, codec="mpeg4").read_bytes()


@contextmanager
def serving(
    spool: Path, database: str, files: str, lease: float = 2, remote: int | None = None
) -> Iterator[tuple[str, Any]]:
    spool.mkdir(exist_ok=True)
    command = [sys.executable, str(SERVER), str(spool), database, files, str(lease)]
    command += [] if remote is None else [str(remote)]
    paths = ":".join(str(SERVER.parents[1] / name) for name in ("server", "cluster"))
    env = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("Serving "))
            yield line.split()[-1], process
        finally:
            process.kill()


def submit(address: str, video: bytes, **params: Any) -> str:
    response = httpx.post(f"{address}/v1/jobs", content=video, params=params, timeout=120)
    assert response.status_code in (200, 202), response.text
    location: str = response.headers["location"]
    return location


def submit_url(address: str, url: str) -> str:
    response = httpx.post(f"{address}/v1/jobs", json={"url": url}, timeout=120)
    assert response.status_code == 202, response.text
    location: str = response.headers["location"]
    return location


def get(address: str, job: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(address + job, timeout=120).json()
    return found


def records(address: str, job: str, **params: Any) -> list[dict[str, Any]]:
    response = httpx.get(f"{address}{job}/results", params=params, timeout=60)
    return [json.loads(line) for line in response.text.splitlines()]


@contextmanager
def pair(
    folder: Path, database: str, files: str, remote: int | None = None
) -> Iterator[dict[int, tuple[str, Any]]]:
    """Two servers, by their process ids."""
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        spools = [folder / "a", folder / "b"]
        contexts = [serving(spool, database, files, remote=remote) for spool in spools]
        servers = list(pool.map(stack.enter_context, contexts))
        yield {process.pid: (address, process) for address, process in servers}


def owner(database: str, job: str) -> int:
    """The process that works on a job."""
    store = JobStore(open_postgresql(database))
    row = store.get(job.rpartition("/")[2])
    store.close()
    assert row is not None and row.owner is not None
    return int(row.owner.split(":")[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_another_server_continues_the_job_of_a_killed_one_without_lost_or_duplicate_records(
    database: str, bucket: str, kind: str, video: bytes, tmp_path: Path
) -> None:
    with pair(tmp_path, database, bucket if kind == "s3" else str(tmp_path / "shared")) as servers:
        (any_address, _), *_ = servers.values()
        job = submit(any_address, video)
        wait_until(lambda: len(records(any_address, job)) > 3)
        _, process = servers.pop(owner(database, job))
        ((second, _),) = servers.values()
        assert submit(second, video) == job, "the same video is the same job, whichever server is asked"
        before = records(second, job)
        process.kill()
        followed = records(second, job, follow="true")
        alone = httpx.post(f"{second}/detect", content=video, timeout=60).json()
        assert followed[: len(before)] == before
        assert followed[0] == alone["video"]
        assert followed[1:-1] == alone["frames"]
        assert (followed[-1]["type"], followed[-1]["emitted"]) == ("summary", FRAMES)
        assert records(second, job, after=5) == followed[5:]
        assert get(second, job)["state"] == "done"


@pytest.mark.slow
def test_servers_share_downloads_and_one_takes_over_those_of_a_killed_one(
    database: str, video: bytes, tmp_path: Path
) -> None:
    with web_host() as host, pair(tmp_path, database, str(tmp_path / "shared"), host.port) as servers:
        paths = [f"/{number}.mp4" for number in range(6)]
        host.pages = {path: Page(video, headers={"ETag": '"one"'}) for path in paths}
        addresses = [address for address, _ in servers.values()]
        jobs = [submit_url(addresses[n % 2], host.url(path)) for n, path in enumerate(paths)]
        wait_until(lambda: all(get(addresses[0], job)["state"] == "done" for job in jobs))
        assert sorted(host.paths()) == paths, "each video is downloaded once"
        assert all(len(records(addresses[1], job)) == FRAMES + 2 for job in jobs)
        # Several seconds long, so that its server can be killed during it.
        host.pages["/slow.mp4"] = Page(
            video, headers={"ETag": '"two"'}, pause=0.5, piece=-(-len(video) // 20)
        )
        job = submit_url(addresses[0], host.url("/slow.mp4"))
        wait_until(lambda: "/slow.mp4" in host.paths())
        _, process = servers.pop(owner(database, job))
        ((second, _),) = servers.values()
        process.kill()
        host.pages["/slow.mp4"].pause = 0
        wait_until(lambda: get(second, job)["state"] in ("done", "failed"))
        assert get(second, job)["state"] == "done", get(second, job)
        assert len(records(second, job)) == FRAMES + 2
        assert host.paths().count("/slow.mp4") == 2


@pytest.mark.slow
def test_a_job_can_be_cancelled_and_deleted_on_any_of_the_servers(
    database: str, bucket: str, tmp_path: Path
) -> None:
    # Long enough to be under way still when the other server cancels it.
    video = write_video(tmp_path / "long.mp4", 10 * FRAMES, codec="mpeg4").read_bytes()
    with pair(tmp_path, database, bucket) as servers:
        (any_address, _), *_ = servers.values()
        job = submit(any_address, video, mode="online")
        wait_until(lambda: get(any_address, job)["progress"]["done"] > 0)
        first, _ = servers.pop(owner(database, job))
        ((second, _),) = servers.values()
        assert httpx.delete(second + job).status_code == 204
        assert get(first, job)["state"] == "cancelled"
        wait_until(lambda: not list((tmp_path / "a").iterdir()) and not list((tmp_path / "b").iterdir()))
        assert httpx.delete(first + job).status_code == 204
        assert httpx.get(second + job).status_code == 404


def shared(tmp_path: Path, database: str, files: str) -> ServerSettings:
    return ServerSettings(spool_dir=tmp_path, jobs_database=SecretStr(database), jobs_files=files)


def test_an_old_upload_without_a_job_is_deleted(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_place(shared(tmp_path, database, str(tmp_path / "files")))
    (tmp_path / "upload").write_bytes(b"video")
    lost = new_job_id()
    place.files.adopt(tmp_path / "upload", lost)
    (tmp_path / "files" / "mine.txt").write_bytes(b"x")
    place.files.sweep(set())
    with place.files.video(lost) as copy:
        assert copy.read_bytes() == b"video", "it may be another server's that is becoming a job"
    later = time.time() + 2 * 3600
    monkeypatch.setattr("selsa_server.jobs.shared.time.time", lambda: later)
    place.files.sweep(set())
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["mine.txt"]
    place.close()


REFUSED = {
    "no server": ("postgresql://selsa:hush@127.0.0.1:9/jobs", "FOLDER", "127.0.0.1:9/jobs refuses"),
    "no address": ("mysql", "FOLDER", "is no address such as"),
    "no such user": ("DATABASE:nobody", "FOLDER", "refuses: "),
    "no such bucket": ("DATABASE", "s3://not-there/jobs", "jobs_files s3://not-there/jobs refuses"),
    "no such scheme": ("DATABASE", "nonsense://x", "jobs_files nonsense://x cannot be used"),
    "no folder": ("DATABASE", "/proc/selsa", "jobs_files /proc/selsa refuses"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_unusable_database_or_store_ends_the_start_with_one_line(
    case: str, database: str, bucket: str, tmp_path: Path
) -> None:
    address, files, said = REFUSED[case]
    address = address.replace("DATABASE:nobody", database.replace("selsa@", "nobody:hush@"))
    address, files = address.replace("DATABASE", database), files.replace("FOLDER", str(tmp_path / "files"))
    with pytest.raises(JobsPlaceError) as refused:
        open_place(shared(tmp_path, address, files))
    line = str(refused.value)
    assert said in line
    assert "\n" not in line and "hush" not in line


def test_the_command_reports_the_database_without_its_password(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command("serve")(serve)
    place = ["--jobs-database", "postgresql://selsa:hush@127.0.0.1:9/jobs"]
    alone = CliRunner().invoke(app, place)
    both = CliRunner().invoke(app, [*place, "--jobs-files", str(tmp_path)])
    for result, said in ((alone, "go together"), (both, "127.0.0.1:9/jobs refuses")):
        assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
        assert said in result.stderr and "hush" not in result.stderr

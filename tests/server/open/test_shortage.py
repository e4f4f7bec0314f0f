"""Disks that are full, too few open files, servers and decoders that are killed."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER
from live_server import live_server, wait_until
from media import write_video
from raw import connected

from selsa_server.api.spool import sweep
from selsa_server.settings import ServerSettings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")

SERVER = Path(__file__).parents[1] / "fake_server.py"
FULL = 100_000
BIG = 3_000_000


@contextmanager
def server(spool: Path, log: Path, *limits: tuple[int, int]) -> Iterator[tuple[str, int]]:
    """Address without scheme, and process id, of a server process with limits of the system."""

    def limit() -> None:
        for kind, value in limits:
            resource.setrlimit(
                kind, (value, resource.getrlimit(kind)[1] if kind == resource.RLIMIT_FSIZE else value)
            )

    spool.mkdir(exist_ok=True)
    with log.open("w") as file:
        command = [sys.executable, str(SERVER), str(spool)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, preexec_fn=limit)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, log.read_text()[-2000:]
        yield line.split("http://")[1].strip(), process.pid
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk_answers(address: str) -> dict[str, tuple[int, str]]:
    body = os.urandom(BIG)
    with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        answers = {
            "raw": client.post("/detect", content=body),
            "form": client.post("/detect", files={"file": body}),
            "ndjson": client.post("/detect", content=body, headers={"Accept": "application/x-ndjson"}),
            "mp4": client.post("/detect", content=body, headers={"Accept": "video/mp4"}),
            "draw": client.post("/draw", files={"records": b"{}", "file": body}),
            "job": client.post("/v1/jobs", content=body),
        }
        assert client.get("/healthz").status_code == 200
    return {kind: (answer.status_code, answer.json()["code"]) for kind, answer in answers.items()}


def test_uploads_over_the_systems_limit_on_files_are_507_of_their_own(tmp_path: Path) -> None:
    with server(tmp_path / "spool", tmp_path / "log", (resource.RLIMIT_FSIZE, FULL)) as (address, _):
        assert set(full_disk_answers(address).values()) == {(507, "storage_full")}


def test_uploads_to_a_full_disk_are_507_of_their_own(small_disk: Path, tmp_path: Path) -> None:
    with server(small_disk, tmp_path / "log") as (address, _):
        answers = full_disk_answers(address)
        del answers["job"]  # without room for their database, this server may have no jobs at all
        assert set(answers.values()) == {(507, "storage_full")}


def test_a_drawn_video_that_does_not_fit_is_507(small_disk: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 60, codec="mpeg4", size=(320, 240)).read_bytes()
    with server(small_disk, tmp_path / "log") as (address, _):
        usage = os.statvfs(small_disk)
        free = usage.f_bavail * usage.f_frsize
        (small_disk / "filler").write_bytes(bytes(free - len(video) - 8192))
        headers = {"Accept": "video/mp4"}
        answer = httpx.post(f"http://{address}/detect", content=video, headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["content-type"]) == (507, "application/problem+json")
    assert answer.json()["code"] == "storage_full"


def test_a_job_waits_for_room_and_its_follower_gets_the_end(small_disk: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 200, codec="mpeg4", size=(32, 32)).read_bytes()
    log = tmp_path / "log"
    with (
        server(small_disk, log) as (address, _),
        httpx.Client(base_url=f"http://{address}") as client,
    ):
        job = client.post("/v1/jobs", content=video).json()["id"]
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        wait_until(lambda: "the disk is full" in log.read_text())
        # It is still queued if the disk was full before it was taken up.
        assert client.get(f"/v1/jobs/{job}").json()["state"] in ("queued", "running")
        assert client.get("/healthz").status_code == 200
        filler.unlink()
        with client.stream("GET", f"/v1/jobs/{job}/results?follow=true", timeout=60) as answer:
            records = [json.loads(line) for line in answer.iter_lines()]
        assert [record["type"] for record in records] == ["video", *["frame"] * 200, "summary"]
        assert [record["index"] for record in records[1:-1]] == list(range(200))
        assert client.get(f"/v1/jobs/{job}").json()["state"] == "done"


def test_more_connections_than_open_files_leave_a_server_that_answers(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with server(tmp_path / "spool", log, (resource.RLIMIT_NOFILE, 300)) as (address, _), ExitStack() as stack:
        for _ in range(500):
            with suppress(OSError):
                stack.enter_context(connected(address))
        assert httpx.get(f"http://{address}/healthz", timeout=10).status_code == 200
    lines = log.read_text().splitlines()
    assert len(lines) < 20
    assert all(json.loads(line) for line in lines)


def test_the_limit_on_connections_is_a_503_while_all_are_busy(settings: ServerSettings) -> None:
    busy = settings.model_copy(update={"max_connections": 3, "upload_timeout": 60})
    head = b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nxx"
    with live_server(FakeEngines(), busy) as address, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(address, head))
        wait_until(lambda: len(list(settings.spool_dir.glob("*.upload"))) == 3)
        refused = httpx.get(f"http://{address}/models")
        assert (refused.status_code, refused.json()["code"]) == (503, "server_busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert httpx.get(f"http://{address}/healthz").status_code == 200


def test_silent_connections_make_way(settings: ServerSettings) -> None:
    few = settings.model_copy(update={"max_connections": 3, "header_timeout": 60})
    with live_server(FakeEngines(), few) as address, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(address))
        assert httpx.get(f"http://{address}/models").status_code == 200


def test_the_next_start_deletes_the_spool_files_of_a_killed_server(tmp_path: Path) -> None:
    spool, log = tmp_path / "spool", tmp_path / "log"
    head = b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nxx"
    with server(spool, log) as (address, _), connected(address, head):
        wait_until(lambda: len(list(spool.glob("*.upload"))) == 1)
        assert sweep(spool) == 0  # in use
        with server(spool, tmp_path / "log2"):
            assert len(list(spool.glob("*.upload"))) == 1
    # Killed on leaving, maybe before it saw that its client had gone.
    (spool / "selsa-left.upload").touch()
    with server(spool, log):
        wait_until(lambda: list(spool.glob("*.upload")) == [])


@pytest.mark.parametrize("victim", ["decoder", "fork server"])
def test_a_job_whose_decoder_is_killed_is_done_all_the_same(
    settings: ServerSettings, tmp_path: Path, victim: str
) -> None:
    video = write_video(tmp_path / "v.mp4", 100, codec="mpeg4").read_bytes()
    engines = FakeEngines(seconds_per_frame=0.02)
    with live_server(engines, settings) as address, httpx.Client(base_url=f"http://{address}") as client:
        job = client.post("/v1/jobs", content=video).json()["id"]
        wait_until(lambda: client.get(f"/v1/jobs/{job}").json()["progress"]["done"] > 5)
        fork_servers = psutil.Process().children()
        decoders = [each for parent in fork_servers for each in parent.children(recursive=True)]
        assert decoders
        for process in decoders if victim == "decoder" else [each.parent() for each in decoders]:
            assert process is not None
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        wait_until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] in ("done", "failed"))
        records = [json.loads(line) for line in client.get(f"/v1/jobs/{job}/results").text.splitlines()]
        assert [record["index"] for record in records[1:-1]] == list(range(100))
        assert records[-1]["type"] == "summary"
    FORK_SERVER.start()

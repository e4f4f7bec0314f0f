"""Downloads and webhooks outlive the process: a real server is killed with SIGKILL and started again."""

import base64
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_server import wait_until
from media import write_video
from test_jobs_restart import serving
from web_host import Page, WebHost, web_host

FRAMES = 12


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, FRAMES, codec="mpeg4").read_bytes()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebHost]:
    secrets = tmp_path / "secrets"
    secrets.write_text("whsec_" + base64.b64encode(os.urandom(32)).decode())
    with web_host() as host:
        monkeypatch.setenv("SELSA_REMOTE_HOSTS", f"127.0.0.1:{host.port}")
        monkeypatch.setenv("SELSA_REMOTE_NETWORKS", "127.0.0.0/8")
        monkeypatch.setenv("SELSA_WEBHOOK_SECRETS_FILE", str(secrets))
        monkeypatch.setenv("SELSA_WEBHOOK_PAUSE", "0.1")
        yield host


@contextmanager
def server(spool: Path) -> Iterator[str]:
    """Killed at the end of the block."""
    command = [sys.executable, str(Path(__file__).parents[1] / "fake_server.py"), str(spool)]
    with serving(command) as (address, _):
        yield address


def job(address: str, location: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(address + location).json()
    return found


def test_after_a_kill_a_download_goes_on_and_a_message_that_was_not_answered_is_accepted_once(
    host: WebHost, video: bytes, tmp_path: Path
) -> None:
    # The end of an MP4 may be anything; the part that has to arrive is larger than one piece on disk.
    body = video + b"\0\0\0\x08free" + bytes(3 << 20)
    over = threading.Event()

    def half(handler: BaseHTTPRequestHandler) -> None:
        head = f'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: {len(body)}\r\n\r\n'
        handler.wfile.write(head.encode() + body[: 2 << 20])
        handler.wfile.flush()
        over.wait(60)

    def silent(handler: BaseHTTPRequestHandler) -> None:
        over.wait(60)

    page = host.pages["/video.mp4"] = Page(body, headers={"ETag": '"one"'}, act=half)
    hook = host.pages["/hook"] = Page(act=silent)
    with server(tmp_path) as address:
        answer = httpx.post(f"{address}/v1/jobs", json={"url": host.url("/video.mp4")})
        download = answer.headers["location"]
        wait_until(lambda: (job(address, download)["downloaded"] or 0) > 0)
        answer = httpx.post(f"{address}/v1/jobs", content=video, params={"webhook": host.url("/hook")})
        told = answer.headers["location"]
        wait_until(lambda: "/hook" in host.paths())
        assert job(address, told)["state"] == "done"
    over.set()
    page.act = hook.act = None
    with server(tmp_path) as address:
        wait_until(lambda: job(address, download)["state"] in ("done", "failed"))
        assert job(address, download)["progress"] == {"done": FRAMES, "total": FRAMES}
        wait_until(lambda: host.paths().count("/hook") == 2)
        time.sleep(0.5)
    asked = [each.headers.get("Range") for each in host.seen if each.path == "/video.mp4"]
    assert asked[0] is None and len(asked) == 2
    assert int(str(asked[1]).removeprefix("bytes=").removesuffix("-")) >= 1 << 20
    first, *accepted = (each for each in host.seen if each.path == "/hook")
    assert [each.headers["webhook-id"] for each in accepted] == [first.headers["webhook-id"]]
    assert accepted[0].body == first.body
    assert json.loads(first.body)["data"]["job"]["id"] == told.rpartition("/")[2]


def test_after_a_kill_at_any_moment_each_end_is_accepted_once_by_its_id(
    host: WebHost, video: bytes, tmp_path: Path
) -> None:
    host.pages["/hook"] = Page(statuses=[500, 200, 503])
    jobs = set()
    with server(tmp_path) as address:
        for stride in range(1, 7):
            params = {"webhook": host.url("/hook"), "stride": stride}
            answer = httpx.post(f"{address}/v1/jobs", content=video, params=params)
            jobs.add(answer.headers["location"].rpartition("/")[2])
        time.sleep(random.uniform(0, 0.5))  # leaving the block kills
    with server(tmp_path):
        wait_until(lambda: {json.loads(each.body)["data"]["job"]["id"] for each in host.seen} == jobs)
        time.sleep(0.5)
    by_id: dict[str, set[bytes]] = {}
    for each in host.seen:
        by_id.setdefault(each.headers["webhook-id"], set()).add(each.body)
    assert len(by_id) == len(jobs) == 6
    assert Counter(len(bodies) for bodies in by_id.values()) == {1: 6}, "one state each, in all tries"

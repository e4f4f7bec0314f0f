"""`POST /v1/jobs` with the address of a video, over HTTP and on real decoders."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from live_server import value_of, wait_until
from media import write_video
from web_host import Page, WebHost, web_host

from selsa_server.api.app import build_app
from selsa_server.settings import ServerSettings

FRAMES = 40


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, FRAMES, codec="mpeg4").read_bytes()


@pytest.fixture
def host(video: bytes) -> Iterator[WebHost]:
    with web_host() as host:
        host.pages["/video.mp4"] = Page(video, headers={"ETag": '"one"'})
        yield host


@contextmanager
def running(settings: ServerSettings, host: WebHost, **changes: Any) -> Iterator[TestClient]:
    allowed = {"remote_hosts": (f"127.0.0.1:{host.port}",), "remote_networks": ("127.0.0.1/32",)}
    # Longer than any pause of a busy machine.
    allowed |= {"upload_timeout": 20}
    changed = ServerSettings(**(settings.model_dump() | allowed | changes))
    app = build_app(fake_pipeline(FakeEngines()), changed, fork_server=FORK_SERVER)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def submit(client: TestClient, url: str, **options: Any) -> str:
    response = client.post("/v1/jobs", json={"url": url}, **options)
    assert response.status_code == 202, response.text
    location: str = response.headers["location"]
    return location


def ended(client: TestClient, job: str) -> dict[str, Any]:
    wait_until(lambda: client.get(job).json()["state"] in ("done", "failed", "cancelled"))
    view: dict[str, Any] = client.get(job).json()
    return view


def frames(client: TestClient, job: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get(f"{job}/results").text.splitlines()][1:-1]


def failure(client: TestClient, job: str) -> tuple[str, str]:
    view = ended(client, job)
    assert view["state"] == "failed", view
    return view["error"]["code"], view["error"]["detail"]


def files(settings: ServerSettings) -> set[str]:
    assert settings.jobs_dir is not None
    return {path.suffix for path in settings.jobs_dir.iterdir()} - {
        ".sqlite3",
        ".sqlite3-wal",
        ".sqlite3-shm",
        "",
    }


def test_a_video_by_its_address_gives_the_records_of_an_upload(
    settings: ServerSettings, host: WebHost, video: bytes
) -> None:
    with running(settings, host) as client:
        job = submit(client, host.url("/video.mp4?signature=secret"), params={"stride": 2})
        view = ended(client, job)
        assert view["state"] == "done"
        assert view["source"] == host.url("/video.mp4")
        alone = client.post("/detect", content=video, params={"stride": 2}).json()["frames"]
        assert frames(client, job) == alone
        assert host.paths() == ["/video.mp4?signature=secret"]
        assert "secret" not in client.get("/v1/jobs").text
    assert files(settings) == {".ndjson"}
    assert settings.jobs_dir is not None
    with sqlite3.connect(settings.jobs_dir / "jobs.sqlite3") as database:
        assert database.execute("SELECT url FROM job").fetchall() == [(None,)], "the signature is forgotten"


@pytest.mark.parametrize("kind", ["mpegts", "fmp4"])
def test_a_finished_playlist_is_a_video_with_every_frame_once(
    kind: str, settings: ServerSettings, host: WebHost, tmp_path: Path
) -> None:
    folder = tmp_path / "hls"
    folder.mkdir()
    playlist = write_video(
        folder / "list.m3u8",
        FRAMES,
        options={"g": "10", "bf": "2"},
        container_format="hls",
        container_options={
            "hls_time": "0.4",
            "hls_list_size": "0",
            "hls_segment_type": kind,
            "hls_playlist_type": "vod",
        },
    )
    assert playlist.read_text().count("#EXTINF") == 4
    for path in folder.iterdir():
        host.pages[f"/{path.name}"] = Page(path.read_bytes())
    with running(settings, host) as client:
        job = submit(client, host.url("/list.m3u8"))
        view = ended(client, job)
        assert view["state"] == "done", view
        found = frames(client, job)
    assert [frame["index"] for frame in found] == list(range(FRAMES))
    times = [frame["time"] - found[0]["time"] for frame in found]
    assert times == pytest.approx([n / 25 for n in range(FRAMES)], abs=1e-4)
    assert files(settings) == {".ndjson"}


REFUSED = {
    "another host": ({"url": "http://videos.example/v.mp4"}, 403, "url_not_allowed"),
    "another scheme": ({"url": "file:///etc/passwd"}, 403, "url_not_allowed"),
    "an address inside": ({"url": "http://10.0.0.1/v.mp4"}, 403, "url_not_allowed"),
    "no URL": ({}, 422, "invalid_parameter"),
    "a number": ({"url": 5}, 422, "invalid_parameter"),
    "a list": (["http://videos.example/"], 422, "invalid_parameter"),
    "another field": ({"url": "http://a/", "headers": {"Authorization": "x"}}, 422, "invalid_parameter"),
    "something long": ({"url": "http://a/" + "x" * 5000}, 422, "invalid_parameter"),
    "something huge": ({"url": "http://a/" + "x" * 50_000}, 413, "body_too_large"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_is_no_allowed_address_is_refused_at_once(
    case: tuple[object, int, str], settings: ServerSettings, host: WebHost
) -> None:
    body, status, code = case
    with running(settings, host) as client:
        response = client.post("/v1/jobs", json=body)
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
        assert client.get("/v1/jobs").json()["jobs"] == []


def test_without_the_setting_no_address_is_used(client: TestClient) -> None:
    response = client.post("/v1/jobs", json={"url": "https://videos.example/v.mp4"})
    assert response.status_code == 403
    assert "remote_hosts is empty" in response.json()["detail"]
    assert client.post("/detect", json={"url": "https://videos.example/v.mp4"}).status_code == 415


def test_a_download_that_fails_ends_its_job_with_the_reason(settings: ServerSettings, host: WebHost) -> None:
    host.pages["/page"] = Page(b"<html>", headers={"Content-Type": "text/html"})
    host.pages["/text"] = Page(b"no video at all")
    host.pages["/away"] = Page(statuses=[302], headers={"Location": "http://10.0.0.1/"})
    host.pages["/big"] = Page(b"x" * 2_000_000)
    paths = ["/page", "/text", "/away", "/big", "/none"]
    with running(settings, host, max_upload_bytes=1_000_000) as client:
        found = {path: failure(client, submit(client, host.url(path))) for path in paths}
    assert {path: code for path, (code, _) in found.items()} == {
        "/page": "download_failed",
        "/text": "not_a_video",
        "/away": "url_not_allowed",
        "/big": "body_too_large",
        "/none": "download_failed",
    }
    assert files(settings) <= {".ndjson"}


def test_downloads_are_counted_by_their_end_and_their_bytes_once(
    settings: ServerSettings, host: WebHost, video: bytes
) -> None:
    host.pages["/video.mp4"].break_after = [len(video) // 2]
    host.pages["/away"] = Page(statuses=[302], headers={"Location": "http://10.0.0.1/"})
    host.pages["/big"] = Page(b"x" * 2_000_000)
    counted = {
        "complete": "/video.mp4",
        "download_failed": "/none",
        "url_not_allowed": "/away",
        "body_too_large": "/big",
    }
    with running(settings, host, max_upload_bytes=1_000_000) as client:
        assert value_of(client, "selsa_download_bytes_total") == 0
        for outcome, path in counted.items():
            name = f'selsa_downloads_total{{outcome="{outcome}"}}'
            assert value_of(client, name) == 0
            ended(client, submit(client, host.url(path)))
            wait_until(lambda name=name: value_of(client, name) == 1)
            if outcome == "complete":
                assert len(host.seen) == 2, "it was continued"
                assert value_of(client, "selsa_download_bytes_total") == len(video)


def test_a_cancelled_download_is_counted(settings: ServerSettings, host: WebHost) -> None:
    over = threading.Event()
    host.pages["/slow"] = Page(act=hanging(over))
    with running(settings, host, max_upload_bytes=10_000_000) as client:
        job = submit(client, host.url("/slow"))
        wait_until(lambda: value_of(client, "selsa_download_bytes_total") > 1_000_000)
        assert client.delete(job).status_code == 204
        wait_until(lambda: value_of(client, 'selsa_downloads_total{outcome="cancelled"}') == 1)
    over.set()


def test_an_idempotency_key_stands_for_one_address(settings: ServerSettings, host: WebHost) -> None:
    headers = {"Idempotency-Key": "one"}
    with running(settings, host) as client:
        job = submit(client, host.url("/video.mp4"), headers=headers)
        again = client.post("/v1/jobs", json={"url": host.url("/video.mp4")}, headers=headers)
        assert (again.status_code, again.headers["location"]) == (200, job)
        other = client.post("/v1/jobs", json={"url": host.url("/other.mp4")}, headers=headers)
        assert other.json()["code"] == "idempotency_key_reused"
        assert submit(client, host.url("/video.mp4")) != job, "what is at an address may have changed"


def hanging(until: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 1_500_000)
        handler.wfile.flush()
        until.wait(300)

    return act


def test_slow_downloads_keep_no_other_job_from_running_and_can_be_cancelled(
    settings: ServerSettings, host: WebHost, video: bytes
) -> None:
    over = threading.Event()
    host.pages["/slow"] = Page(act=hanging(over))
    with running(settings, host, remote_concurrent=2, max_upload_bytes=10_000_000) as client:
        slow = [submit(client, host.url("/slow")) for _ in range(3)]
        wait_until(lambda: len(host.seen) == 2)
        upload = client.post("/v1/jobs", content=video).headers["location"]
        assert ended(client, upload)["state"] == "done"
        wait_until(lambda: client.get(slow[0]).json()["downloaded"] > 1_000_000)
        assert client.get(slow[0]).json()["state"] == "queued"
        for job in slow:
            assert client.delete(job).status_code == 204
        assert [ended(client, job)["state"] for job in slow] == ["cancelled"] * 3
        wait_until(lambda: files(settings) == {".ndjson"})
        started = time.monotonic()
    assert time.monotonic() - started < 60, "no download keeps the server from ending"
    over.set()


def test_a_download_counts_as_a_file_of_the_jobs(settings: ServerSettings, host: WebHost) -> None:
    host.pages["/big"] = Page(b"x" * 3_000_000)
    with running(settings, host, jobs_max_bytes=1_500_000, max_upload_bytes=9_000_000) as client:
        assert failure(client, submit(client, host.url("/big")))[0] == "jobs_full"
        assert client.get("/v1/jobs").json()["jobs"][0]["downloaded"] is None
    assert files(settings) == set()


def test_an_orderly_stop_leaves_a_download_to_the_next_server(
    settings: ServerSettings, host: WebHost, video: bytes
) -> None:
    over = threading.Event()
    # With a box of padding, since a server counts and writes about a megabyte at a time.
    long = video + (3_000_000).to_bytes(4, "big") + b"free" + bytes(3_000_000 - 8)

    def act(handler: BaseHTTPRequestHandler) -> None:
        head = f'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: {len(long)}\r\n\r\n'
        handler.wfile.write(head.encode() + long[:2_000_000])
        handler.wfile.flush()
        over.wait(300)

    host.pages["/video.mp4"] = Page(long, headers={"ETag": '"one"'}, act=act)
    assert settings.jobs_dir is not None
    with running(settings, host, max_upload_bytes=10_000_000) as client:
        job = submit(client, host.url("/video.mp4"))
        wait_until(lambda: value_of(client, "selsa_download_bytes_total") > 0)
    (kept,) = (path.stat().st_size for path in settings.jobs_dir.glob("*.part"))
    assert 0 < kept <= 2_000_000
    over.set()
    host.pages["/video.mp4"].act = None
    with running(settings, host, max_upload_bytes=10_000_000) as client:
        assert ended(client, job)["state"] == "done"
    assert host.seen[-1].headers["Range"] == f"bytes={kept}-"

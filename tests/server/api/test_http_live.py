"""A real server on a loopback port: clients that leave, clients that crowd, refusals that must arrive."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fake_engines import FakeEngines
from fakes import FORK_SERVER, MAX_UPLOAD, fake_pipeline
from live_server import wait_until
from media import write_video

from selsa_server.api.app import build_app
from selsa_server.api.listener import listen
from selsa_server.settings import ServerSettings

FRAMES = 200
REFERENCES = 4


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, FRAMES, codec="mpeg4").read_bytes()


@contextmanager
def serving(engines: FakeEngines, settings: ServerSettings) -> Iterator[httpx.Client]:
    listener = listen("127.0.0.1", 0)
    app = build_app(fake_pipeline(engines), settings, fork_server=FORK_SERVER)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=120) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)
            yield client
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


def head(
    video: bytes, client: httpx.Client, *lines: str, length: int | None = None, target: str = "/detect"
) -> bytes:
    size = len(video) if length is None else length
    fields = [
        f"POST {target} HTTP/1.1",
        f"Host: {client.base_url.host}",
        f"Content-Length: {size}",
        *lines,
        "",
        "",
    ]
    return "\r\n".join(fields).encode()


def connect(client: httpx.Client) -> socket.socket:
    assert client.base_url.port is not None
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=60)


def answer_of(raw: socket.socket) -> bytes:
    """A problem and the head before it."""
    answer = b""
    while not answer.endswith(b"}"):
        part = raw.recv(65536)
        assert part, answer
        answer += part
    return answer


def stops(engines: FakeEngines) -> int:
    """Frames run by the time that no more are run."""
    last = -1
    while last != engines.frames_run:
        last = engines.frames_run
        time.sleep(0.25)
    return last


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_client_that_leaves_stops_the_work(settings: ServerSettings, video: bytes, accept: str) -> None:
    engines = FakeEngines(seconds_per_frame=0.02)
    with serving(engines, settings) as client:
        with connect(client) as raw:
            raw.sendall(head(video, client, f"Accept: {accept}") + video)
            wait_until(lambda: engines.frames_run > 10)
        assert stops(engines) < 40
        wait_until(lambda: list(settings.spool_dir.iterdir()) == [])
        assert client.post("/detect", content=video, params={"stride": 50}).status_code == 200


def test_a_client_that_leaves_stops_the_work_on_the_reference_frames(
    settings: ServerSettings, video: bytes
) -> None:
    engines = FakeEngines(seconds_per_frame=0.02)
    with serving(engines, settings) as client:
        ran = engines.frames_run
        with connect(client) as raw:
            raw.sendall(head(video, client, target="/detect?reference_frames=60") + video)
            wait_until(lambda: engines.frames_run > ran + 4)
        assert stops(engines) - ran < 40


def test_a_client_that_leaves_while_uploading_leaves_nothing_behind(
    settings: ServerSettings, engines: FakeEngines, video: bytes
) -> None:
    with serving(engines, settings) as client:
        ran = engines.frames_run
        with connect(client) as raw:
            raw.sendall(head(video, client) + video[:1000])
            wait_until(lambda: list(settings.spool_dir.iterdir()) != [])
        wait_until(lambda: list(settings.spool_dir.iterdir()) == [])
        assert engines.frames_run == ran


@pytest.fixture
def crowded(settings: ServerSettings) -> ServerSettings:
    return settings.model_copy(update={"max_concurrent": 1, "max_queued": 1})


def test_a_queued_request_whose_client_leaves_never_runs(crowded: ServerSettings, video: bytes) -> None:
    engines = FakeEngines(seconds_per_frame=0.02)
    with serving(engines, crowded) as client, ThreadPoolExecutor() as pool:
        ran = engines.frames_run
        first = pool.submit(client.post, "/detect", content=video, params={"stride": 2})
        wait_until(lambda: engines.frames_run > ran)
        with connect(client) as raw:
            raw.sendall(head(video, client) + video)
            wait_until(lambda: len(list(crowded.spool_dir.iterdir())) >= 2)
        assert first.result().status_code == 200
        selected, references = FRAMES // 2, REFERENCES
        assert selected <= engines.frames_run - ran <= selected + references


def test_requests_beyond_the_queue_get_retry_after(crowded: ServerSettings, video: bytes) -> None:
    engines = FakeEngines(seconds_per_frame=0.02)
    with serving(engines, crowded) as client, ThreadPoolExecutor() as pool:
        inside = [pool.submit(client.post, "/detect", content=video, params={"stride": 4}) for _ in range(2)]
        wait_until(lambda: len(list(crowded.spool_dir.iterdir())) >= 2)
        refused = client.post("/detect", content=video)
        assert (refused.status_code, refused.json()["code"]) == (503, "server_busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/healthz").status_code == 200
        assert [each.result().status_code for each in inside] == [200, 200]
        assert client.post("/detect", content=video, params={"stride": 50}).status_code == 200


def test_concurrent_videos_give_the_same_records_as_alone(settings: ServerSettings, tmp_path: Path) -> None:
    videos = [write_video(tmp_path / f"{n}.mp4", n, codec="mpeg4").read_bytes() for n in (20, 30, 25)]
    together = settings.model_copy(update={"max_concurrent": 3})
    with serving(FakeEngines(seconds_per_frame=0.002), together) as client, ThreadPoolExecutor() as pool:
        alone = [client.post("/detect", content=each).json()["frames"] for each in videos]
        at_once = pool.map(lambda each: client.post("/detect", content=each).json()["frames"], videos)
        assert list(at_once) == alone


def test_records_arrive_while_the_rest_is_computed(settings: ServerSettings, video: bytes) -> None:
    engines = FakeEngines(seconds_per_frame=0.02)
    headers = {"Accept": "application/x-ndjson"}
    with (
        serving(engines, settings) as client,
        client.stream("POST", "/detect", content=video, headers=headers) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        next(lines)
        assert engines.frames_run < 30


@pytest.mark.parametrize("size", [MAX_UPLOAD + 1, 8 << 20])
def test_a_refusal_arrives_although_the_client_is_still_sending(
    settings: ServerSettings, engines: FakeEngines, size: int
) -> None:
    with serving(engines, settings) as client, connect(client) as raw:
        raw.sendall(head(b"", client, length=size))
        for sent in range(0, size, 1 << 16):
            raw.sendall(bytes(min(1 << 16, size - sent)))
        answer = answer_of(raw)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


def test_a_refusal_without_content_length_arrives(settings: ServerSettings, engines: FakeEngines) -> None:
    with serving(engines, settings) as client:
        response = client.post("/detect", content=(bytes(1 << 16) for _ in range(64)))
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert client.get("/healthz").status_code == 200


def test_expect_100_continue_is_refused_before_the_body(
    settings: ServerSettings, engines: FakeEngines
) -> None:
    with serving(engines, settings) as client, connect(client) as raw:
        raw.sendall(head(b"", client, "Expect: 100-continue", length=MAX_UPLOAD + 1))
        assert answer_of(raw).startswith(b"HTTP/1.1 413 ")


def test_a_stalled_upload_is_ended(settings: ServerSettings, engines: FakeEngines) -> None:
    with serving(engines, settings) as client, connect(client) as raw:
        raw.sendall(head(b"", client, length=1000) + b"abc")
        answer = answer_of(raw)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"request_timeout" in answer
        wait_until(lambda: list(settings.spool_dir.iterdir()) == [])

"""Running it: who is let in, when it ends, what it counts."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from live_server import value_of, wait_until
from media import write_video

from selsa_server.api.app import Lifecycle, build_app
from selsa_server.api.listener import listen
from selsa_server.api.serving import DrainingServer
from selsa_server.service.draining import Drain
from selsa_server.settings import ServerSettings

NDJSON = {"Accept": "application/x-ndjson"}
KEY = "correct-horse"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """8 seconds."""
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", 200, codec="mpeg4").read_bytes()


@contextmanager
def serving(engines: FakeEngines, settings: ServerSettings) -> Iterator[tuple[httpx.Client, DrainingServer]]:
    listener = listen("127.0.0.1", 0)
    drain = Drain(settings.drain_timeout)
    app = build_app(
        fake_pipeline(engines, batch=4),
        settings,
        Lifecycle(drain=drain, on_drained=lambda: server.end()),
        fork_server=FORK_SERVER,
    )
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    server = DrainingServer(config, drain)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=120) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)
            yield client, server
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
        assert not thread.is_alive()


def with_changes(settings: ServerSettings, **changes: Any) -> ServerSettings:
    return settings.model_copy(update=changes)


@pytest.fixture
def guarded(settings: ServerSettings, tmp_path: Path) -> Iterator[TestClient]:
    keys = tmp_path / "keys"
    keys.write_text(f"# the team's\nother\n\n{KEY}\n")
    with TestClient(
        build_app(
            fake_pipeline(FakeEngines()), with_changes(settings, api_keys_file=keys), fork_server=FORK_SERVER
        )
    ) as it:
        yield it


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"}, {"X-API-Key": KEY}]
)
def test_a_valid_key_is_accepted(guarded: TestClient, video: bytes, headers: dict[str, str]) -> None:
    assert guarded.post("/detect?stride=50", content=video, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {KEY}"},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": "# the team's"},
        {"X-API-Key": "caf\u00e9".encode("latin-1")},
    ],
)
@pytest.mark.parametrize("path", ["/detect", "/model", "/metrics", "/nothing", "/docs"])
def test_without_a_key_every_request_is_refused(
    guarded: TestClient, headers: dict[str, str], path: str
) -> None:
    response = guarded.get(path, headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert KEY not in response.text


def test_probes_need_no_key(guarded: TestClient) -> None:
    assert guarded.get("/healthz").status_code == 200
    assert guarded.get("/readyz").status_code in (200, 503)


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_the_deadline_ends_a_request_with_its_error(
    settings: ServerSettings, video: bytes, accept: str
) -> None:
    engines = FakeEngines(seconds_per_frame=0.02)
    with serving(engines, with_changes(settings, request_deadline=1.0)) as (client, _):
        response = client.post("/detect", content=video, headers={"Accept": accept})
        if accept == "application/json":
            assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
        else:
            last = json.loads(response.text.splitlines()[-1])
            assert (last["type"], last["code"]) == ("error", "deadline_exceeded")
            assert last["emitted"] == len(response.text.splitlines()) - 2
        ran = engines.frames_run
        time.sleep(0.3)
        assert engines.frames_run == ran
        assert client.post("/detect?stride=50", content=video).status_code == 200


def test_a_client_that_does_not_read_is_disconnected(settings: ServerSettings, tmp_path: Path) -> None:
    long = write_video(tmp_path / "long.mp4", 450, codec="mpeg4", size=(32, 32)).read_bytes()
    tight = with_changes(settings, send_timeout=0.4)
    with serving(FakeEngines(), tight) as (client, _):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        assert client.base_url.port is not None
        raw.connect((client.base_url.host, client.base_url.port))
        request = f"POST /detect HTTP/1.1\r\nHost: x\r\nAccept: {NDJSON['Accept']}\r\n"
        raw.sendall(f"{request}Content-Length: {len(long)}\r\n\r\n".encode() + long)
        time.sleep(0.2)
        wait_until(lambda: value_of(client, "selsa_requests_inside") == 0)
        raw.close()


def test_too_many_waiting_video_seconds_are_refused_with_retry_after(
    settings: ServerSettings, video: bytes
) -> None:
    tight = with_changes(settings, max_queue_seconds=9, max_concurrent=1)
    with serving(FakeEngines(seconds_per_frame=0.01), tight) as (client, _), ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, "/detect", content=video)
        wait_until(lambda: value_of(client, "selsa_queue_video_seconds") > 0)
        refused = client.post("/detect", content=video)
        assert (refused.status_code, refused.json()["code"]) == (503, "server_busy")
        assert "s of video" in refused.json()["detail"]
        # Not measured yet, so it is what the settings say.
        assert refused.headers["retry-after"] == "5"
        assert client.post("/detect?stride=100", content=video).status_code in (200, 503)
        assert first.result().status_code == 200
        assert value_of(client, "selsa_queue_video_seconds") == 0
        again = pool.submit(client.post, "/detect", content=video)
        wait_until(lambda: value_of(client, "selsa_queue_video_seconds") > 0)
        measured = int(client.post("/detect", content=video).headers["retry-after"])
        assert 1 <= measured <= 4
        assert again.result().status_code == 200


def test_server_timing_has_the_parts(settings: ServerSettings, video: bytes) -> None:
    with TestClient(build_app(fake_pipeline(FakeEngines()), settings, fork_server=FORK_SERVER)) as client:
        response = client.post("/detect", content=video)
        timings = response.json()["summary"]["timings"]
        assert {"queue", "turn", "index", "decode", "frame_engine", "sequence_engine"} <= set(timings)
        assert "queue;dur=" in response.headers["server-timing"]
        stream = client.post("/detect", content=video, headers=NDJSON)
        assert "queue;dur=" in stream.headers["server-timing"]


def test_requests_and_frames_are_counted(settings: ServerSettings, video: bytes) -> None:
    with TestClient(
        build_app(fake_pipeline(FakeEngines(), batch=4), settings, fork_server=FORK_SERVER)
    ) as client:
        client.post("/detect?stride=2", content=video)
        client.post("/detect?stride=0", content=video)
        client.get("/nothing/<script>")
        client.request("BREW", "/healthz")
        text = client.get("/metrics").text
        assert 'selsa_requests_total{code="",method="POST",route="/detect",status="200"} 1.0' in text
        assert 'code="invalid_parameter",method="POST",route="/detect",status="422"} 1.0' in text
        assert 'code="not_found",method="GET",route="unmatched",status="404"} 1.0' in text
        assert "BREW" not in text
        assert "<script>" not in text
        assert 'selsa_frames_total{kind="detect",outcome="emitted"} 100.0' in text
        assert 'selsa_batch_frames_count{engine="frame_engine"}' in text
        assert 'selsa_bundle{digest="sha256:' in text
        assert value_of(client, "process_resident_memory_bytes") > 1e6
        assert value_of(client, "selsa_first_record_seconds_count") == 0


def test_frames_saved_by_a_disconnection_are_counted(settings: ServerSettings, video: bytes) -> None:
    with serving(FakeEngines(seconds_per_frame=0.01), settings) as (client, _):
        with client.stream("POST", "/detect", content=video, headers=NDJSON) as response:
            next(response.iter_lines())
        saved = 'selsa_frames_total{kind="detect",outcome="saved"}'
        wait_until(lambda: value_of(client, saved) > 100)
        assert (
            value_of(client, 'selsa_frames_total{kind="detect",outcome="emitted"}') + value_of(client, saved)
            == 200
        )


def test_two_applications_have_separate_metrics(settings: ServerSettings) -> None:
    one, other = (
        TestClient(build_app(fake_pipeline(FakeEngines()), settings, fork_server=FORK_SERVER))
        for _ in range(2)
    )
    one.get("/healthz")
    assert 'route="/healthz"' in one.get("/metrics").text
    assert 'route="/healthz"' not in other.get("/metrics").text


def test_a_drain_finishes_running_requests_and_refuses_new_ones(
    settings: ServerSettings, video: bytes
) -> None:
    engines = FakeEngines(seconds_per_frame=0.01)
    with serving(engines, settings) as (client, server), ThreadPoolExecutor() as pool:
        ran = engines.frames_run
        first = pool.submit(client.post, "/detect?stride=2", content=video)
        wait_until(lambda: engines.frames_run > ran)
        server.handle_exit(15, None)
        refused = client.post("/detect", content=video)
        assert (refused.status_code, refused.json()["code"]) == (503, "draining")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/readyz").json()["code"] == "draining"
        assert client.get("/healthz").status_code == 200
        assert first.result().json()["summary"]["emitted"] == 100
        wait_until(lambda: server.should_exit)


def test_streams_longer_than_the_drain_end_with_a_draining_record(
    settings: ServerSettings, video: bytes
) -> None:
    engines = FakeEngines(seconds_per_frame=0.05)
    with serving(engines, with_changes(settings, drain_timeout=0.3)) as (client, server):
        with client.stream("POST", "/detect", content=video, headers=NDJSON) as response:
            lines = response.iter_lines()
            next(lines)
            server.handle_exit(15, None)
            last = json.loads(list(lines)[-1])
        assert (last["type"], last["code"], last["status"]) == ("error", "draining", 503)
        wait_until(lambda: server.should_exit)


def test_a_second_signal_ends_at_once(settings: ServerSettings, video: bytes) -> None:
    engines = FakeEngines(seconds_per_frame=0.02)
    with serving(engines, settings) as (client, server), ThreadPoolExecutor() as pool:
        ran = engines.frames_run
        cut = pool.submit(client.post, "/detect", content=video)
        wait_until(lambda: engines.frames_run > ran)
        server.handle_exit(15, None)
        assert not server.should_exit
        server.handle_exit(15, None)
        assert server.should_exit
        assert server.force_exit
        assert cut.exception(60) is not None or cut.result().status_code != 200

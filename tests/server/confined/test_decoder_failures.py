"""Decoders that crash, hang, are killed or eat memory: each costs one request, and nothing is left."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_bundle
from fastapi.testclient import TestClient
from live_server import live_server, wait_until
from media import write_video
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from selsa_server.api.app import build_app
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.settings import ServerSettings

NDJSON = {"Accept": "application/x-ndjson"}
MP4 = {"Accept": "video/mp4"}
FRAMES = 200


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, FRAMES, codec="mpeg4").read_bytes()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("short") / "video.mp4", 5).read_bytes()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("large") / "8k.avi"
    return write_video(path, 1, codec="mjpeg", pix_fmt="yuvj420p", size=(7680, 4320)).read_bytes()


@pytest.fixture(autouse=True)
def nothing_is_left(short: bytes) -> Iterator[None]:
    """No process, handle or shared memory is left of what a test does."""
    FORK_SERVER.start()
    before = handles()
    yield
    wait_until(lambda: decoders() == [])
    with suppress(AssertionError):
        wait_until(lambda: len(handles()) <= len(before))
    assert len(after := handles()) <= len(before), sorted(set(after.items()) - set(before.items()))
    assert "selsa-frame" not in Path("/proc/self/maps").read_text()


@contextmanager
def serving(settings: ServerSettings, **changes: Any) -> Iterator[httpx.Client]:
    engines = FakeEngines(seconds_per_frame=0.01)
    with (
        live_server(engines, settings.model_copy(update=changes)) as address,
        httpx.Client(base_url=f"http://{address}", timeout=120) as client,
    ):
        yield client


def handles() -> dict[str, str]:
    """What this process has open of the kinds that decoders and uploads are, which pipes are not."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found[link.name] = str(link.readlink())
    return {handle: name for handle, name in found.items() if not name.startswith("pipe:")}


def decoders() -> list[psutil.Process]:
    assert FORK_SERVER.pid is not None
    return psutil.Process(FORK_SERVER.pid).children()


def hit(number: int, count: int = 1) -> list[psutil.Process]:
    """Send a signal to the decoders that are there, once there are so many that have started to decode."""
    wait_until(lambda: len(decoders()) == count)
    time.sleep(0.15)
    found = decoders()
    found[-1].send_signal(number)
    return found


def in_background(work: Any, *arguments: Any, **options: Any) -> "Future[Any]":
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work, *arguments, **options)
    pool.shutdown(wait=False)
    return future


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def ends(client: httpx.Client, outcome: str) -> float:
    found = re.search(
        rf'^selsa_decoders_total{{outcome="{outcome}"}} (\S+)$', client.get("/metrics").text, re.M
    )
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize(
    ("number", "refusal", "says", "outcome"),
    [
        (signal.SIGSEGV, (422, "decoder_failed"), "SIGSEGV", "crashed"),
        (signal.SIGKILL, (422, "decoder_failed"), "was killed", "killed"),
        # What the kernel sends when the limit is reached.
        (signal.SIGXCPU, (504, "decoder_timeout"), "processor time", "timeout"),
    ],
)
def test_a_decoder_that_ends_costs_its_request_and_no_other(
    settings: ServerSettings,
    video: bytes,
    short: bytes,
    number: int,
    refusal: tuple[int, str],
    says: str,
    outcome: str,
) -> None:
    with serving(settings) as client:
        answer = in_background(client.post, "/detect", content=video)
        hit(number)
        assert code(answer.result()) == refusal
        assert says in answer.result().json()["detail"]
        assert client.post("/detect", content=short).status_code == 200
        assert (ends(client, outcome), ends(client, "ok")) == (1, 1)


def test_a_stream_of_records_ends_with_what_happened(settings: ServerSettings, video: bytes) -> None:
    with serving(settings) as client:
        with client.stream("POST", "/detect", content=video, headers=NDJSON) as answer:
            lines = answer.iter_lines()
            records = [json.loads(next(lines)) for _ in range(2)]
            hit(signal.SIGSEGV)
            records += [json.loads(line) for line in lines]
        assert (records[-1]["type"], records[-1]["code"]) == ("error", "decoder_failed")
        assert records[-1]["emitted"] == len(records) - 2 > 0


def test_a_decoder_that_hangs_is_ended_when_its_time_is_over(
    settings: ServerSettings, video: bytes, short: bytes
) -> None:
    with serving(settings, decoder_timeout=0.6) as client:
        answer = in_background(client.post, "/detect", content=video)
        hit(signal.SIGSTOP)
        assert code(answer.result()) == (504, "decoder_timeout")
        assert "0.6 s" in answer.result().json()["detail"]
        assert client.post("/detect", content=short).status_code == 200
        assert ends(client, "timeout") == 1


def test_the_deadline_of_a_request_does_not_wait_for_a_decoder_that_hangs(
    settings: ServerSettings, video: bytes
) -> None:
    with serving(settings, request_deadline=1.0) as client:
        answer = in_background(client.post, "/detect", content=video)
        hit(signal.SIGSTOP)
        assert code(answer.result()) == (504, "deadline_exceeded")
        assert ends(client, "cancelled") == 1


def test_a_decoder_that_hangs_ends_with_its_client(settings: ServerSettings, video: bytes) -> None:
    with serving(settings) as client:
        with client.stream("POST", "/detect", content=video, headers=NDJSON) as response:
            lines = response.iter_lines()
            next(lines)
            (decoder,) = hit(signal.SIGSTOP)
        wait_until(lambda: not decoder.is_running())
        # It is counted after it has ended.
        wait_until(lambda: ends(client, "cancelled") == 1)


@pytest.mark.parametrize("headers", [{}, MP4])
def test_a_decoder_that_eats_memory_is_refused_it(
    settings: ServerSettings, short: bytes, large: bytes, headers: dict[str, str]
) -> None:
    changes = {"decoder_memory": 64 << 20, "max_upload_bytes": 1 << 30}
    pipeline = DetectionPipeline(fake_bundle(FakeEngines()))
    app = build_app(pipeline, settings.model_copy(update=changes), fork_server=FORK_SERVER)
    with TestClient(app) as client:
        for decode in ("strict", "tolerant"):
            answer = client.post(f"/detect?decode={decode}", content=large, headers=headers)
            assert code(answer) == (422, "decoder_failed"), answer.text
            assert "64 MiB of memory" in answer.json()["detail"]
        assert client.post("/detect", content=short, headers=headers).status_code == 200


def test_a_drawing_that_crashes_costs_its_request(
    settings: ServerSettings, video: bytes, short: bytes
) -> None:
    with serving(settings) as client:
        answer = in_background(client.post, "/detect", content=video, headers=MP4)
        hit(signal.SIGSEGV, count=2)
        assert code(answer.result()) == (422, "decoder_failed")
        assert client.post("/detect", content=short, headers=MP4).status_code == 200
    assert [path for path in settings.spool_dir.iterdir() if path.is_file()] == []


def test_a_job_whose_decoder_crashes_has_failed(settings: ServerSettings, video: bytes, short: bytes) -> None:
    with serving(settings) as client:
        job = client.post("/v1/jobs", content=video).headers["location"]
        hit(signal.SIGSEGV)
        wait_until(lambda: client.get(job).json()["state"] == "failed")
        assert client.get(job).json()["error"]["code"] == "decoder_failed"
        other = client.post("/v1/jobs", content=short).headers["location"]
        wait_until(lambda: client.get(other).json()["state"] == "done")


def test_a_job_that_is_cancelled_does_not_wait_for_a_decoder_that_hangs(
    settings: ServerSettings, video: bytes
) -> None:
    with serving(settings) as client:
        job = client.post("/v1/jobs", content=video).headers["location"]
        (decoder,) = hit(signal.SIGSTOP)
        assert client.delete(job).status_code == 204
        wait_until(lambda: not decoder.is_running())


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGSEGV, "decoder_failed"), (signal.SIGSTOP, "decoder_timeout")]
)
def test_a_live_stream_ends_with_what_happened(
    settings: ServerSettings, video: bytes, number: int, expected: str
) -> None:
    with serving(settings, decoder_timeout=0.6) as client:
        address = str(client.base_url).replace("http", "ws")
        with connect(f"{address}/stream") as stream:
            stream.send('{"type":"start","container":"jpeg"}')
            image = jpeg()
            stream.send(image)
            assert json.loads(stream.recv(5))["type"] == "video"
            hit(number)
            stream.send(image)
            with pytest.raises(ConnectionClosedError):
                while True:
                    last = json.loads(stream.recv(5))
            assert (last["type"], last["code"]) == ("error", expected)


def jpeg() -> bytes:
    import cv2
    from media import frame_pixels

    return bytes(cv2.imencode(".jpg", frame_pixels(1)[..., ::-1])[1])


def test_where_the_fork_server_is_killed_the_next_request_has_another(
    settings: ServerSettings, video: bytes, short: bytes
) -> None:
    with serving(settings) as client:
        answer = in_background(client.post, "/detect", content=video)
        wait_until(lambda: len(decoders()) == 1)
        (decoder,), first = decoders(), FORK_SERVER.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert code(answer.result()) == (500, "internal_error")
        wait_until(lambda: not decoder.is_running())
        assert client.post("/detect", content=short).status_code == 200
        assert FORK_SERVER.pid != first

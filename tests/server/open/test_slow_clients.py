"""Clients that send little, late or nothing, and clients that read nothing."""

import asyncio
import json
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_engines import FakeEngines
from live_server import live_server, wait_until
from media import write_video
from raw import connected, read_all, seconds_until_closed

from selsa_client import AsyncClient, Client, RejectedError
from selsa_server.settings import ServerSettings

GIB = 1 << 30


def with_changes(settings: ServerSettings, **changes: Any) -> ServerSettings:
    return settings.model_copy(update={"max_upload_bytes": 2 * GIB, **changes})


def post(path: str, length: int = GIB) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nxx".encode()


def test_200_slow_uploads_do_not_keep_out_an_honest_client(settings: ServerSettings, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 50, codec="mpeg4").read_bytes()
    patient = with_changes(settings, upload_timeout=60)
    with live_server(FakeEngines(), patient, batch=4) as address, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connected(address, post("/detect")))
        wait_until(lambda: len(list(settings.spool_dir.glob("*.upload"))) >= 200)
        assert httpx.post(f"http://{address}/detect", content=video, timeout=30).status_code == 200
        assert len(list(settings.spool_dir.glob("*.upload"))) >= 200, "it did not wait for them"


def test_uploads_that_announce_much_and_send_little_hold_no_room_for_jobs(
    settings: ServerSettings, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "v.mp4", 5, codec="mpeg4").read_bytes()
    patient = with_changes(settings, upload_timeout=60)
    with live_server(FakeEngines(), patient) as address, ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(connected(address, post("/v1/jobs", 2 * GIB - 1)))
        assert settings.jobs_dir is not None
        jobs_dir = settings.jobs_dir
        wait_until(lambda: len(list(jobs_dir.glob("*.upload"))) == 12)
        assert httpx.post(f"http://{address}/v1/jobs", content=video).status_code == 202


def test_a_job_upload_over_the_room_is_refused_by_what_it_announces_and_by_what_arrives(
    settings: ServerSettings,
) -> None:
    small = with_changes(settings, jobs_max_bytes=1000)
    with live_server(FakeEngines(), small) as address:
        announced = httpx.post(f"http://{address}/v1/jobs", content=bytes(2000))
        arrived = httpx.post(f"http://{address}/v1/jobs", content=iter([bytes(2000)]))
        for answer in (announced, arrived):
            assert (answer.status_code, answer.json()["code"]) == (507, "jobs_full")


@pytest.mark.parametrize("path", ["/detect", "/v1/jobs"])
def test_an_upload_below_the_least_rate_ends_with_the_window(settings: ServerSettings, path: str) -> None:
    with live_server(FakeEngines(), with_changes(settings, upload_timeout=1)) as address:
        with connected(address, post(path)) as connection:
            stop = threading.Event()

            def trickle() -> None:
                while not stop.wait(0.2):
                    connection.send(b"x")

            sender = threading.Thread(target=trickle)
            sender.start()
            started = time.monotonic()
            answer = connection.recv(65536)
            seconds = time.monotonic() - started
            stop.set()
            sender.join()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert seconds > 0.5


def test_an_upload_above_the_least_rate_may_take_longer_than_the_window(settings: ServerSettings) -> None:
    with live_server(FakeEngines(), with_changes(settings, upload_timeout=0.5)) as address:

        def body() -> Any:
            for _ in range(8):
                time.sleep(0.2)
                yield bytes(1000)

        assert httpx.post(f"http://{address}/detect", content=body()).status_code == 415


@pytest.mark.parametrize("data", [b"", b"GET /healthz HTTP/1.1\r\nHost:"], ids=["silent", "half a head"])
def test_a_connection_without_a_whole_head_is_closed(settings: ServerSettings, data: bytes) -> None:
    with (
        live_server(FakeEngines(), with_changes(settings, header_timeout=0.5)) as address,
        connected(address, data) as connection,
    ):
        seconds, received = seconds_until_closed(connection)
        assert seconds > 0.2
        assert received.startswith(b"HTTP/1.1 408 ") if data else received == b""


def test_a_head_that_trickles_in_is_closed_too(settings: ServerSettings) -> None:
    with (
        live_server(FakeEngines(), with_changes(settings, header_timeout=0.5)) as address,
        connected(address, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n") as connection,
    ):
        started = time.monotonic()
        with pytest.raises(OSError):  # a broken pipe or a reset
            while time.monotonic() - started < 20:
                connection.sendall(b"A: b\r\n")
                time.sleep(0.05)


def test_an_idle_connection_serves_its_next_request(settings: ServerSettings) -> None:
    with (
        live_server(FakeEngines(), with_changes(settings, header_timeout=3)) as address,
        connected(address) as connection,
    ):
        for _ in range(3):
            time.sleep(0.3)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_refusal_can_be_read_while_the_upload_goes_on(settings: ServerSettings) -> None:
    head = post("/detect", 10 * GIB)
    with (
        live_server(FakeEngines(), with_changes(settings)) as address,
        connected(address, head) as connection,
    ):
        for _ in range(50):
            connection.sendall(bytes(100_000))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_reads_no_refusal_cannot_send_for_ever(settings: ServerSettings) -> None:
    head = post("/detect", 10 * GIB)
    with (
        live_server(FakeEngines(), with_changes(settings)) as address,
        connected(address, head) as connection,
    ):
        sent = 0
        with pytest.raises(OSError):
            while sent < GIB:
                sent += connection.send(bytes(100_000))
        assert sent < 64 << 20


def test_after_connection_close_a_refusal_arrives_whole(settings: ServerSettings) -> None:
    head = post("/detect", 10 * GIB).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with (
        live_server(FakeEngines(), with_changes(settings)) as address,
        connected(address, head) as connection,
    ):
        for _ in range(20):
            connection.sendall(bytes(100_000))
        answer = read_all(connection)
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body_too_large"


def test_results_of_a_job_are_ended_for_a_client_that_reads_nothing(
    settings: ServerSettings, tmp_path: Path
) -> None:
    long = write_video(tmp_path / "v.mp4", 450, codec="mpeg4", size=(32, 32)).read_bytes()
    tight = with_changes(settings, send_timeout=0.5, stream_timeout=0.5)
    with live_server(FakeEngines(), tight, batch=8) as address:
        job = httpx.post(f"http://{address}/v1/jobs", content=long).json()["id"]
        wait_until(lambda: httpx.get(f"http://{address}/v1/jobs/{job}").json()["state"] == "done")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        host, port = address.split(":")
        connection.connect((host, int(port)))
        request = f"GET /v1/jobs/{job}/results HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(request.encode() * 100)
        metrics = f"http://{address}/metrics"
        wait_until(lambda: 'code="client_too_slow"' in httpx.get(metrics).text, 30)
        connection.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_clients_report_the_refusal_of_an_upload(
    settings: ServerSettings, tmp_path: Path, *, asynchronous: bool
) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(3 << 20))

    async def send(address: str) -> None:
        async with AsyncClient(f"http://{address}") as client:
            await client.detect(large).collect()

    with live_server(FakeEngines(), settings) as address, pytest.raises(RejectedError) as refused:
        if asynchronous:
            asyncio.run(send(address))
        else:
            with Client(f"http://{address}") as client:
                client.detect(large).collect()
    assert refused.value.code == "body_too_large"

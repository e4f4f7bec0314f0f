"""Live streams that must wait, and streams that a server which ends must end."""

import json
import threading
import time
from typing import Any

import anyio
import cv2
import httpx
import pytest
from fake_engines import FakeEngines
from fakes import fake_models
from live_server import live_server, wait_until
from media import frame_pixels, write_video
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from selsa_server.api.live_session import LiveSession
from selsa_server.service.draining import Drain
from selsa_server.settings import ServerSettings, StreamSettings
from selsa_server.video.live.input import LiveFile, LiveInput, LiveMessage

START = '{"type":"start","container":"jpeg"%s}'


def jpeg(number: int) -> bytes:
    ok, data = cv2.imencode(".jpg", frame_pixels(number)[..., ::-1])
    assert ok
    return bytes(data)


class StuckClient:
    """Sends images for ever and takes only the first few records."""

    def __init__(self, takes: int, drop: str) -> None:
        self._takes = takes
        self._messages = [START % f',"drop":"{drop}"']
        # Equal frames would be computed once.
        self._images = jpeg(1), jpeg(3)
        self.sent = 0

    async def receive(self) -> dict[str, Any]:
        await anyio.sleep(0.001)
        if self._messages:
            return {"type": "websocket.receive", "text": self._messages.pop()}
        self.sent += 1
        return {"type": "websocket.receive", "bytes": self._images[self.sent % 2]}

    async def send(self, message: Any) -> None:
        self._takes -= 1
        if self._takes < 0:
            await anyio.sleep_forever()


BUFFER = 20_000


@pytest.mark.parametrize("drop", ["never", "oldest"])
def test_frames_that_wait_for_a_client_that_reads_nothing_are_bounded(drop: str) -> None:
    engines, client = FakeEngines(), StuckClient(5, drop)
    models = fake_models(engines, batch=2)
    options = models.default.service.pipeline.options
    limits = StreamSettings(stream_timeout=0.8)

    async def main() -> None:
        socket = WebSocket({"type": "websocket"}, client.receive, client.send)
        socket.client_state = socket.application_state = socket.client_state.CONNECTED
        session = LiveSession(socket, models, limits, anyio.CapacityLimiter(2), buffer_bytes=BUFFER)
        with pytest.raises(WebSocketDisconnect):
            await session.serve(await session.start())
        assert session.run is not None
        assert session.run.saved <= options.prefetch + options.batch
        assert (session.run.dropped > 0) == (drop == "oldest")

    anyio.run(main)
    models.close()
    assert engines.frames_run <= 5 + options.batch
    waiting = BUFFER // len(jpeg(1)) + 3 + options.prefetch
    assert drop == "oldest" or client.sent <= engines.frames_run + waiting


def test_putting_into_a_full_input_waits_for_room() -> None:
    source = LiveInput(100)
    source.put(LiveMessage(b"x" * 150))
    assert source.full
    putting = threading.Thread(target=source.put, args=[LiveMessage(b"y" * 60)])
    putting.start()
    time.sleep(0.05)
    assert putting.is_alive() and source.bytes == 150
    file = LiveFile(source)
    assert file.read(10) == b"x" * 10
    putting.join(2)
    assert file.read(1000) == b"x" * 140
    source.end()
    assert (file.read_all(100), file.read(1)) == (b"y" * 60, b"")


def test_aborting_releases_every_waiting_thread() -> None:
    source = LiveInput(10)
    source.put(LiveMessage(b"x" * 10))
    waiting = [threading.Thread(target=source.put, args=[LiveMessage(b"y")]) for _ in range(3)]
    for thread in waiting:
        thread.start()
    source.abort()
    for thread in waiting:
        thread.join(2)
        assert not thread.is_alive()
    assert (source.get(), source.bytes) == (None, 0)


def test_a_server_that_ends_ends_its_streams_with_an_error_record(
    settings: ServerSettings, tmp_path: Any
) -> None:
    drain = Drain(5)
    engines = FakeEngines(seconds_per_frame=0.02)
    video = write_video(tmp_path / "video.mp4", 200, codec="mpeg4").read_bytes()
    with live_server(engines, settings, drain=drain) as address, connect(f"ws://{address}/stream") as socket:
        job = httpx.post(f"http://{address}/v1/jobs", content=video).headers["location"]
        socket.send(START % "")
        for number in range(3):
            socket.send(jpeg(number))
        got = [json.loads(socket.recv(timeout=5))["type"] for _ in range(4)]
        assert got == ["video"] + ["frame"] * 3
        url = f"http://{address}{job}/results"
        with httpx.stream("GET", url, params={"follow": True}, timeout=5) as followed:
            wait_until(lambda: httpx.get(url).text.count("\n") > 3)
            drain.begin()
            *records, last = [json.loads(line) for line in followed.iter_lines()]
        assert [record["index"] for record in records[1:]] == list(range(len(records) - 1))
        assert (last["type"], last["code"]) == ("error", "draining")
        error = json.loads(socket.recv(timeout=5))
        assert (error["type"], error["code"], error["emitted"]) == ("error", "draining", 3)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)
        assert socket.close_code == 4503
        refused = httpx.post(f"http://{address}/v1/jobs", content=video)
        assert (refused.status_code, refused.json()["code"]) == (503, "jobs_unavailable")

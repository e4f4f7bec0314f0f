"""A network camera: packets of a small rtsp server reach the engines while it runs."""

import re
import socket
import struct
import threading
import time
from contextlib import contextmanager
from itertools import pairwise

import av
import pytest
from fake_engines import FakeEngines
from live_server import live_server
from media import frame_pixels
from typer.testing import CliRunner

from selsa_client import Client
from selsa_client.cli.main import build_app
from selsa_client.cli.remux import remuxed, rtsp_options
from selsa_server.settings import ServerSettings

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:video\r\n"
)
COUNT = 90
EARLY = 60  # frames that the camera sends at once; a server looks at a second of them first


def nal_units():
    """For each frame its NAL units (H.264, without start codes), a key frame every fifth."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.options = {"bf": "0", "g": "5", "tune": "zerolatency", "preset": "ultrafast"}
    for number in range(COUNT):
        frame = av.VideoFrame.from_ndarray(frame_pixels(number), format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        for packet in encoder.encode(frame):
            yield [unit for unit in re.split(rb"\x00\x00\x00?\x01", bytes(packet)) if unit]


class Camera:
    """Answers one client, then sends frames over its connection; `go_on` lets it send the rest."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.go_on = threading.Event()
        self.asked = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        connection, _ = self._listener.accept()
        with connection:
            asked = connection.makefile("rb")
            while self._answer(connection, asked) != "PLAY":
                pass
            try:
                self._play(connection)
            except OSError:
                return

    def _answer(self, connection, asked):
        head = []
        while (line := asked.readline().strip()) or not head:
            head.append(line.decode())
        method = head[0].split()[0]
        self.asked.append(head[0])
        sequence = next(line for line in head if line.lower().startswith("cseq"))
        more = {
            "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n",
            "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}",
            "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
        }.get(method, "Session: 1\r\n\r\n")
        connection.sendall(f"RTSP/1.0 200 OK\r\n{sequence}\r\n{more}".encode())
        return method

    def _play(self, connection):
        number = 0
        for index, units in enumerate(nal_units()):
            if index == EARLY:
                self.go_on.wait(300)
            for unit in units:
                last = 0x80 if unit is units[-1] else 0
                header = struct.pack(">BBHII", 0x80, last | 96, number & 0xFFFF, index * 3600, 1)
                connection.sendall(struct.pack(">cBH", b"$", 0, 12 + len(unit)) + header + unit)
                number += 1
            time.sleep(0.002)

    @property
    def address(self):
        return f"rtsp://user:secret@127.0.0.1:{self.port}/stream1"


@contextmanager
def server(folder):
    settings = ServerSettings(spool_dir=folder, jobs_dir=folder / "jobs")
    with live_server(FakeEngines(), settings) as address:
        yield f"http://{address}"


def test_frames_of_a_camera_are_detected_while_it_runs(tmp_path):
    camera = Camera()
    with server(tmp_path) as address, Client(address) as client:
        feed = remuxed(camera.address, "camera", rtsp_options())
        assert feed.container == "mp4"
        with client.stream(feed.pieces, container=feed.container) as live:
            frames = iter(live)
            early = [next(frames) for _ in range(EARLY // 3)]
            assert not camera.go_on.is_set()
            camera.go_on.set()
            rest = list(frames)
        seen = early + rest
    assert [frame.index for frame in seen] == list(range(COUNT))
    # The camera does not send the time of the first frame.
    steps = {round(after.time - before.time, 3) for before, after in pairwise(seen[1:])}
    assert steps == {0.04}
    assert camera.asked[-1].startswith("PLAY")


@pytest.mark.parametrize("where", ["server", "local"])
def test_the_command_takes_a_cameras_address(tmp_path, where):
    camera = Camera()
    camera.go_on.set()
    with server(tmp_path) as address:
        place = ["--local"] if where == "local" else ["--server", address]
        done = CliRunner().invoke(
            build_app(), ["detect", camera.address, "--stride", "9", *place], prog_name="selsa"
        )
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count('"type":"frame"') == COUNT // 9
    assert '"complete":true' in done.stdout
    assert "secret" not in done.stderr + done.stdout

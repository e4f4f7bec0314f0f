"""A stub server on loopback and its records."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

VIDEO: dict[str, Any] = {
    "type": "video",
    "width": 64,
    "height": 48,
    "frame_count": 3,
    "duration": 1.0,
    "average_rate": "3/1",
    "time_base": "1/3",
    "codec": "ffv1",
    "rotation": 0,
    "mirrored": False,
    "sample_aspect_ratio": "1/1",
    "model": {
        "name": "selsa-r18-dc5",
        "bundle": "sha256:0",
        "provider": "CPUExecutionProvider",
        "precision": "fp32",
        "classes": ["dog", "žebra"],
    },
    "mode": "sequence",
    "reference_frames": [0, 2],
}
DETECTION: dict[str, Any] = {
    "box": {"x1": 1.5, "y1": 2.0, "x2": 30.25, "y2": 40.0},
    "score": 0.875,
    "class_id": 1,
    "class_name": "žebra",
}
FRAMES: list[dict[str, Any]] = [
    {"type": "frame", "index": i, "pts": i, "time": i / 3, "detections": [DETECTION] * i} for i in range(3)
]
SUMMARY: dict[str, Any] = {
    "type": "summary",
    "complete": True,
    "demuxed": 3,
    "decoded": 3,
    "corrupt": 0,
    "skipped": 0,
    "emitted": 3,
    "clock_jumps": 0,
    "seconds": 0.5,
    "timings": {"decode": 0.1},
}
ERROR: dict[str, Any] = {
    "type": "error",
    "code": "truncated",
    "status": 422,
    "title": "The video is cut off",
    "detail": "The video ends after frame 1; send the whole file",
    "emitted": 1,
}


def ndjson(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


class Samples:
    """Records as the wire carries them."""

    video = VIDEO
    frames = FRAMES
    summary = SUMMARY
    error = ERROR
    ndjson = staticmethod(ndjson)
    whole = ndjson(VIDEO, *FRAMES, SUMMARY)
    failed = ndjson(VIDEO, FRAMES[0], ERROR)

    @staticmethod
    def problem(status: int, code: str, **more: Any) -> bytes:
        document = {"type": f"urn:selsa:problem:{code}", "title": "Title", "status": status, "code": code}
        return json.dumps(document | {"detail": "What is wrong and what to do."} | more).encode()


class Handler(BaseHTTPRequestHandler):
    """Reads the body, then calls the stub's `answer`."""

    protocol_version = "HTTP/1.1"
    stub: "StubServer"

    def do_POST(self) -> None:
        size = self.take_body()
        fields = {name.lower(): value for name, value in self.headers.items()}
        self.stub.requests.append((self.path, fields, size))
        self.stub.answer(self)

    do_GET = do_POST

    def take_body(self) -> int:
        size = 0
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while length := int(self.rfile.readline(), 16):
                size += len(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
            return size
        left = int(self.headers.get("Content-Length", 0))
        while part := len(self.rfile.read(min(left, 1 << 20))):
            left, size = left - part, size + part
        return size

    def records(self, body: bytes) -> None:
        self.whole(200, "application/x-ndjson", body)

    def problem(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self.whole(status, "application/problem+json", Samples.problem(status, code), headers)

    def whole(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()

    def until_gone(self) -> None:
        """Waits for the client to close the connection, five seconds at most."""
        self.connection.settimeout(5)
        try:
            gone = self.connection.recv(1) == b""
        except ConnectionError:
            gone = True
        if gone:
            self.stub.gone.set()
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    """Does not log connections that a test breaks on purpose."""

    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        pass


class StubServer:
    """An HTTP server on loopback that remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[Any], None] = lambda handler: handler.records(Samples.whole)
        self.requests: list[tuple[str, dict[str, str], int]] = []
        self.gone = threading.Event()
        bound = type("BoundHandler", (Handler,), {"stub": self})
        self._server = QuietServer(("127.0.0.1", 0), bound)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(autouse=True, scope="session")
def quiet_log() -> None:
    """Drops the log of a server in this process, because stdout belongs to the command."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


@pytest.fixture(scope="session")
def samples() -> Samples:
    return Samples()


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)) * 4096)
    return path


@pytest.fixture
def installed(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Creates a folder for sys.path with an installed distribution of one module and its entry points."""
    folder = tmp_path / "site"

    def install(package: str, source: str, entry_points: str) -> Path:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").touch()
        (folder / package / "cli.py").write_text(source)
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        return folder

    return install

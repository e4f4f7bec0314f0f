"""An upload over a limit is refused: by Content-Length, by the bytes that arrive, or by the index."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engines import FakeEngines
from live_server import live_server
from media import write_video

from selsa_client import Client, RejectedError
from selsa_server.settings import ServerSettings

FRONT = {"movflags": "faststart"}
MAX_UPLOAD = 30 << 20
BILLION = 10**9


def video(folder: Path, suffix: str, codec: str = "mpeg4", pix_fmt: str = "yuv420p", count: int = 12) -> Path:
    path = folder / f"video.{suffix}"
    options = FRONT if suffix == "mp4" else None
    return write_video(path, count, codec=codec, pix_fmt=pix_fmt, container_options=options)


def many_frames_in_mp4(folder: Path) -> bytes:
    data = bytearray(video(folder, "mp4").read_bytes())
    at = data.index(b"stsz")
    data[at + 8 : at + 16] = struct.pack(">II", 1, BILLION)
    return bytes(data)


def long_mp4(folder: Path) -> bytes:
    """Every frame lasts a day, and no edit list says otherwise."""
    data = bytearray(video(folder, "mp4").read_bytes().replace(b"elst", b"free"))
    at = data.index(b"stts")
    data[at + 16 : at + 20] = struct.pack(">I", BILLION)
    return bytes(data)


CLAIMS = {
    many_frames_in_mp4: "too_many_frames",
    long_mp4: "video_too_long",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    spool = tmp_path_factory.mktemp("spool")
    settings = ServerSettings(spool_dir=spool, jobs_dir=spool / "jobs", max_upload_bytes=MAX_UPLOAD)
    with live_server(FakeEngines(), settings) as address:
        yield address
    assert [path.name for path in spool.glob("*.upload")] == []


@pytest.mark.parametrize(("make", "code"), CLAIMS.items(), ids=lambda each: getattr(each, "__name__", each))
def test_a_header_that_claims_more_than_a_limit_is_refused(
    server: str, tmp_path: Path, make: object, code: str
) -> None:
    path = tmp_path / "claims"
    path.write_bytes(make(tmp_path))  # type: ignore[operator]
    with Client(f"http://{server}") as client, pytest.raises(RejectedError) as raised:
        list(client.detect(path))
    assert (raised.value.status, raised.value.code) == (413, code)


@pytest.mark.parametrize("path", ["/detect", "/v1/jobs"])
def test_content_length_over_the_limit_is_refused_before_the_body_is_sent(server: str, path: str) -> None:
    host, port = server.split(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {MAX_UPLOAD + 1}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode())
        answer = b""
        while b'"code":"body_too_large"' not in answer:
            answer += connection.recv(65536) or pytest.fail(f"no code in {answer!r}")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_the_client_stops_sending_and_reports_why(server: str, tmp_path: Path) -> None:
    path = video(tmp_path, "mp4")
    with path.open("r+b") as file:
        file.truncate(4 * MAX_UPLOAD)
    sent = []
    with Client(f"http://{server}") as client, pytest.raises(RejectedError) as raised:
        list(client.detect(path, on_upload=lambda done, total: sent.append(done)))
    assert (raised.value.status, raised.value.code) == (413, "body_too_large")
    assert max(sent, default=0) < MAX_UPLOAD


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_valid_file_below_the_limit_is_taken_whole(server: str, tmp_path: Path, suffix: str) -> None:
    path = video(tmp_path, suffix)
    body = path.read_bytes()
    padding = 20 << 20
    # A box (MP4) or a void element (Matroska) that readers skip.
    body += (
        struct.pack(">I", padding) + b"free"
        if suffix == "mp4"
        else b"\xec\x08" + struct.pack(">I", padding)[1:]
    ) + bytes(padding - 8)
    path.write_bytes(body)
    with Client(f"http://{server}") as client:
        assert len(list(client.detect(path))) == 12

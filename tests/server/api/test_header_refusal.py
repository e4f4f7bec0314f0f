"""What the head of a file already shows to be over a limit is refused while the client still sends."""

import json
import re
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import LIMITS
from live_server import live_server
from media import write_video

from selsa_bundle.runtimes.fake import FakeEngines
from selsa_client import Client, RejectedError
from selsa_server.errors import VideoError
from selsa_server.settings import ServerSettings
from selsa_server.video.container import VideoLimits
from selsa_server.video.declared.check import check_declared, declared_tracks
from selsa_server.video.index import index_video

FRONT = {"movflags": "faststart"}
WHOLE = 100 << 20
# What is in the buffers of both ends included.
FEW = 8 << 20
BILLION = 10**9


def video(folder: Path, suffix: str, codec: str = "mpeg4", pix_fmt: str = "yuv420p", count: int = 12) -> Path:
    path = folder / f"video.{suffix}"
    options = FRONT if suffix in ("mp4", "mov") else None
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


def long_matroska(folder: Path) -> bytes:
    data = bytearray(video(folder, "mkv").read_bytes())
    at = data.index(b"\x44\x89\x88")
    data[at + 3 : at + 11] = struct.pack(">d", 1e9)
    return bytes(data)


def many_frames_in_avi(folder: Path) -> bytes:
    data = bytearray(video(folder, "avi").read_bytes())
    at = data.index(b"strh") + 8
    data[at + 32 : at + 36] = struct.pack("<I", BILLION)
    return bytes(data)


def large_avi(folder: Path) -> bytes:
    data = bytearray(video(folder, "avi", "rawvideo", "bgr24").read_bytes())
    at = data.index(b"strf") + 8
    data[at + 4 : at + 12] = struct.pack("<ii", 100_000, -100_000)
    return bytes(data)


def large_y4m(folder: Path) -> bytes:
    return b"YUV4MPEG2 W100000 H100000 F25:1 Ip A1:1 C420jpeg\nFRAME\n"


HEADS = {
    many_frames_in_mp4: "too_many_frames",
    long_mp4: "video_too_long",
    long_matroska: "video_too_long",
    many_frames_in_avi: "too_many_frames",
    large_avi: "frame_too_large",
    large_y4m: "frame_too_large",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    spool = tmp_path_factory.mktemp("spool")
    settings = ServerSettings(spool_dir=spool, jobs_dir=spool / "jobs", max_upload_bytes=2 * WHOLE)
    with live_server(FakeEngines(), settings) as address:
        yield address
    assert [path.name for path in spool.glob("*.upload")] == []


def upload(address: str, body: bytes, *, path: str = "/detect", form: bool = False) -> tuple[int, str, int]:
    """Status and code of the answer to 100 MB that begin with these bytes, and how many were sent by then."""
    host, port = address.split(":")
    kind = "application/octet-stream"
    if form:
        kind = "multipart/form-data; boundary=x"
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + body
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {WHOLE}\r\n\r\n"
        )
        connection.sendall(head.encode())
        sent = 0
        while sent < WHOLE and not select.select([connection], [], [], 0)[0]:
            chunk = body[sent : sent + 65536]
            connection.sendall(chunk + bytes(min(65536, WHOLE - sent) - len(chunk)))
            sent += 65536
        answer = b""
        while (code := re.search(rb'"code":"(\w*)"', answer)) is None:
            answer += connection.recv(65536) or pytest.fail(f"no code in {answer!r}")
    return int(answer.split()[1]), code[1].decode(), sent


@pytest.mark.parametrize(("make", "code"), HEADS.items(), ids=lambda each: getattr(each, "__name__", each))
@pytest.mark.parametrize(
    ("path", "form"), [("/detect", False), ("/detect", True), ("/v1/jobs", False)], ids=str
)
def test_a_claim_far_over_a_limit_is_refused_before_the_rest_is_sent(
    server: str, tmp_path: Path, make: object, code: str, path: str, form: bool
) -> None:
    status, answered, sent = upload(server, make(tmp_path), path=path, form=form)  # type: ignore[operator]
    assert (status, answered) == (413, code)
    assert sent < FEW


def test_our_client_stops_sending_and_hears_why(server: str, tmp_path: Path) -> None:
    path = tmp_path / "large.avi"
    path.write_bytes(large_avi(tmp_path))
    with path.open("r+b") as file:
        file.truncate(WHOLE)
    sent = []
    with Client(f"http://{server}") as client, pytest.raises(RejectedError) as raised:
        list(client.detect(path, on_upload=lambda done, total: sent.append(done)))
    assert (raised.value.status, raised.value.code) == (413, "frame_too_large")
    assert max(sent) < FEW


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_large_file_that_is_good_is_taken_whole(server: str, tmp_path: Path, suffix: str) -> None:
    path = video(tmp_path, suffix)
    body = path.read_bytes()
    padding = 20 << 20
    # A box, and an element, that is there to be skipped.
    body += (
        struct.pack(">I", padding) + b"free"
        if suffix == "mp4"
        else b"\xec\x08" + struct.pack(">I", padding)[1:]
    ) + bytes(padding - 8)
    path.write_bytes(body)
    with Client(f"http://{server}") as client:
        assert len(list(client.detect(path))) == 12


GOOD = {
    "B-frames": ("mp4", "libx264", "yuv420p"),
    "mov": ("mov", "mpeg4", "yuv420p"),
    "mkv": ("mkv", "ffv1", "bgr0"),
    "webm": ("webm", "libvpx-vp9", "yuv420p"),
    "avi": ("avi", "mjpeg", "yuvj420p"),
    "ivf": ("ivf", "libvpx", "yuv420p"),
    "gif": ("gif", "gif", "rgb8"),
    "apng": ("apng", "apng", "rgb24"),
    "y4m": ("y4m", "rawvideo", "yuv420p"),
    "ts": ("ts", "mpeg2video", "yuv420p"),
}


@pytest.mark.parametrize("kind", GOOD.values(), ids=list(GOOD))
def test_what_a_good_file_claims_is_what_it_has(tmp_path: Path, kind: tuple[str, str, str]) -> None:
    path = video(tmp_path, *kind)
    index = index_video(path, VideoLimits())
    tracks = declared_tracks(path)
    assert tracks is not None
    for track in tracks:
        assert (track.width, track.height) == (index.width, index.height)
        assert track.frames in (0, len(index))
        assert track.seconds == 0 or track.seconds == pytest.approx(index.duration, abs=0.05)
    assert bool(tracks) == (kind[0] != "ts")


@pytest.mark.parametrize("kind", GOOD.values(), ids=list(GOOD))
def test_a_part_of_a_file_tells_what_the_whole_does_or_nothing(
    tmp_path: Path, kind: tuple[str, str, str]
) -> None:
    path = video(tmp_path, *kind, count=2)
    whole, answers = declared_tracks(path), []
    with path.open("r+b") as file:
        for size in range(min(3000, path.stat().st_size), 0, -17):
            file.truncate(size)
            answers.append(declared_tracks(path))
    assert {answer for answer in answers if answer} <= {whole}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_damage_in_the_head_is_no_failure_of_ours(tmp_path: Path, suffix: str) -> None:
    data = bytearray(video(tmp_path, suffix, count=2).read_bytes()[:2000])
    random, path = np.random.default_rng(1), tmp_path / "damaged"
    for _ in range(100):
        damaged = bytearray(data)
        for place in random.integers(16, len(data), 8):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            check_declared(declared_tracks(path) or (), LIMITS)
        except VideoError as error:
            assert error.status == 413


def test_a_claim_that_an_edit_list_takes_back_is_none(tmp_path: Path) -> None:
    """A film of which an editor left one second keeps its tables."""
    path = tmp_path / "edited.mp4"
    data = bytearray(video(tmp_path, "mp4", count=100).read_bytes())
    at = data.index(b"elst")
    data[at + 12 : at + 16] = struct.pack(">I", 1000)
    path.write_bytes(data)
    (track,) = declared_tracks(path) or ()
    assert (track.frames, track.seconds) == (25, 1.0)
    check_declared((track,), VideoLimits(max_duration=2, max_frames=30))


def test_a_little_over_a_limit_is_left_to_the_whole_file(tmp_path: Path) -> None:
    tracks = declared_tracks(video(tmp_path, "mp4", count=100)) or ()
    check_declared(tracks, VideoLimits(max_frames=95))
    with pytest.raises(VideoError) as raised:
        check_declared(tracks, VideoLimits(max_frames=50))
    assert json.loads(raised.value.problem().model_dump_json())["code"] == "too_many_frames"

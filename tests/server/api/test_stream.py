"""`WS /stream` with real uvicorn and the `websockets` client, on engines without a network."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

import cv2
import httpx
import pytest
from fake_engines import FakeEngines
from fakes import LIMITS
from live_server import live_server, wait_until
from media import audio_only, damage_packet, frame_pixels, write_video
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from selsa_server.api.routes.stream import MAX_WAITING
from selsa_server.settings import ServerSettings

FRAMES = 40
FASTSTART = {"movflags": "faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
KINDS = {
    "faststart": ("mp4", "mp4", {"container_options": FASTSTART}),
    "fragmented": ("mp4", "mp4", {"container_options": FRAGMENTED, "options": {"g": "5"}}),
    "mpegts": ("mpegts", "ts", {"codec": "libx264"}),
    "matroska": ("matroska", "mkv", {}),
    "webm": ("matroska", "webm", {"codec": "libvpx"}),
}
Records = list[dict[str, Any]]


def clip(folder: Path, kind: str, count: int = FRAMES) -> bytes:
    _, suffix, options = KINDS[kind]
    return write_video(folder / f"clip.{suffix}", count, **{"codec": "mpeg4", **options}).read_bytes()


@pytest.fixture
def address(engines: FakeEngines, settings: ServerSettings) -> Iterator[str]:
    with live_server(engines, settings) as address:
        yield address


@contextmanager
def stream(address: str, container: str, **options: Any) -> Iterator[ClientConnection]:
    with connect(f"ws://{address}/stream", max_size=None) as socket:
        socket.send(json.dumps({"type": "start", "container": container, **options}))
        yield socket


def send(socket: ClientConnection, data: bytes, size: int = 1000) -> None:
    for start in range(0, len(data), size):
        socket.send(data[start : start + size])


def end(socket: ClientConnection) -> None:
    socket.send('{"type":"end"}')


def rest(socket: ClientConnection) -> tuple[Records, int]:
    """All records, and the code with which the server closed."""
    records: Records = []
    try:
        while True:
            records.append(json.loads(socket.recv(timeout=60)))
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return records, closed.rcvd.code


def detect(address: str, data: bytes, container: str, **options: Any) -> tuple[Records, int]:
    with stream(address, container, **options) as socket:
        sender = threading.Thread(target=send_all, args=(socket, data))
        sender.start()
        found = rest(socket)
        sender.join()
    return found


def send_all(socket: ClientConnection, data: bytes) -> None:
    try:
        send(socket, data)
        end(socket)
    except ConnectionClosed:
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_gives_the_records_of_the_file_in_online_mode(
    address: str, tmp_path: Path, kind: str
) -> None:
    data = clip(tmp_path, kind)
    (video, *frames, summary), closed = detect(address, data, KINDS[kind][0], reference_frames=3)
    params = {"mode": "online", "reference_frames": 3}
    file = httpx.post(f"http://{address}/detect", content=data, params=params).json()
    assert frames == file["frames"]
    same = ("width", "height", "time_base", "codec", "rotation", "model", "mode")
    assert {key: video[key] for key in same} == {key: file["video"][key] for key in same}
    assert (video["frame_count"], video["duration"]) == (None, None)
    counts = ("demuxed", "decoded", "corrupt", "skipped", "emitted", "complete")
    assert [summary[key] for key in counts] == [FRAMES, FRAMES, 0, 0, FRAMES, True]
    assert closed == 1000


@pytest.mark.parametrize("kind", KINDS)
def test_records_come_while_the_client_is_still_sending(address: str, tmp_path: Path, kind: str) -> None:
    data = clip(tmp_path, kind, 200)
    with stream(address, KINDS[kind][0]) as socket:
        send(socket, data[: len(data) * 3 // 4])
        first = [json.loads(socket.recv(timeout=60))["type"] for _ in range(20)]
        assert first == ["video"] + ["frame"] * 19
        send(socket, data[len(data) * 3 // 4 :])
        end(socket)
        records, closed = rest(socket)
        assert (records[-1]["emitted"], closed) == (200, 1000)


def jpeg(number: int) -> bytes:
    ok, data = cv2.imencode(".jpg", frame_pixels(number)[..., ::-1])
    assert ok
    return bytes(data)


def test_each_image_has_its_record_before_the_next_is_sent(address: str) -> None:
    with stream(address, "jpeg") as socket:
        for number in range(5):
            socket.send(json.dumps({"type": "frame", "time": number * 0.5}))
            socket.send(jpeg(number))
            if number == 0:
                assert json.loads(socket.recv(timeout=60))["type"] == "video"
            record = json.loads(socket.recv(timeout=60))
            assert (record["type"], record["index"], record["time"]) == ("frame", number, number * 0.5)
        socket.send(jpeg(5))
        assert json.loads(socket.recv(timeout=60))["time"] is None
        end(socket)
        (summary,), closed = rest(socket)
        assert (summary["emitted"], summary["complete"], closed) == (6, True, 1000)


def test_stride_leaves_frames_out_and_counts_them(address: str, tmp_path: Path) -> None:
    (_, *frames, summary), _ = detect(address, clip(tmp_path, "matroska"), "matroska", stride=3)
    assert [frame["index"] for frame in frames] == list(range(0, FRAMES, 3))
    assert (summary["skipped"], summary["demuxed"], summary["complete"]) == (FRAMES - 14, FRAMES, True)


def test_an_mp4_with_its_index_at_the_end_is_refused_with_advice(address: str, tmp_path: Path) -> None:
    data = write_video(tmp_path / "clip.mp4", FRAMES, codec="mpeg4").read_bytes()
    (error,), closed = detect(address, data, "mp4")
    assert (error["type"], error["code"], closed) == ("error", "not_streamable", 4415)
    assert "faststart" in error["detail"] and "/detect" in error["detail"]


def billion_samples(tmp_path: Path) -> bytes:
    """An index in front that claims 10^9 samples of one constant size."""
    data = bytearray(clip(tmp_path, "faststart"))
    at = data.index(b"stsz")
    data[at + 8 : at + 16] = (1).to_bytes(4, "big") + (10**9).to_bytes(4, "big")
    return bytes(data)


def too_wide(tmp_path: Path) -> bytes:
    return write_video(tmp_path / "wide.mkv", 2, size=(1024, 480), codec="mpeg4").read_bytes()


def too_many(tmp_path: Path) -> bytes:
    return clip(tmp_path, "matroska", LIMITS.max_frames + 1)


def too_long(tmp_path: Path) -> bytes:
    return write_video(tmp_path / "long.mkv", 3, codec="mpeg4", pts=[0, 1000, 70_000]).read_bytes()


def damaged(tmp_path: Path) -> bytes:
    path = write_video(tmp_path / "clip.mkv", 10, codec="libx264", options={"g": "1"})
    damage_packet(path, 4)
    return path.read_bytes()


def cut_off(tmp_path: Path) -> bytes:
    data = clip(tmp_path, "faststart")
    return data[: len(data) - 500]


@pytest.mark.parametrize(
    ("make", "container", "code", "closed"),
    [
        (lambda path: b"no video" * 1000, "mp4", "not_a_video", 4415),
        (lambda path: b"no video" * 1000, "mpegts", "not_a_video", 4415),
        (lambda path: b"no video" * 1000, "matroska", "not_a_video", 4415),
        (lambda path: b"no video" * 1000, "jpeg", "undecodable", 4422),
        (lambda path: b"", "matroska", "not_a_video", 4415),
        (lambda path: b"", "jpeg", "no_frames", 4422),
        (lambda path: audio_only(path / "a.mkv").read_bytes(), "matroska", "no_video_stream", 4415),
        (billion_samples, "mp4", "too_many_frames", 4413),
        (too_wide, "matroska", "frame_too_large", 4413),
        (too_many, "matroska", "too_many_frames", 4413),
        (too_long, "matroska", "video_too_long", 4413),
        (damaged, "matroska", "undecodable", 4422),
        (cut_off, "mp4", "truncated", 4422),
    ],
)
def test_an_error_ends_the_stream_with_a_record_and_a_close_code(
    address: str, tmp_path: Path, make: Any, container: str, code: str, closed: int
) -> None:
    (*_, last), found = detect(address, make(tmp_path), container)
    assert (last["type"], last["code"], found) == ("error", code, closed), last
    assert "/" not in last["detail"].replace("/detect", "").replace("MPEG-TS", ""), "a path leaked"
    assert detect(address, clip(tmp_path, "mpegts"), "mpegts")[1] == 1000


def test_tolerant_decoding_continues_after_damage_and_counts_it(address: str, tmp_path: Path) -> None:
    (_, *frames, summary), closed = detect(address, damaged(tmp_path), "matroska", decode="tolerant")
    assert (len(frames), summary["corrupt"], summary["demuxed"], closed) == (9, 1, 10, 1000)
    assert [frame["index"] for frame in frames] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert summary["complete"] is False


@pytest.mark.parametrize(
    "first",
    [
        b"bytes first",
        "no json",
        "{}",
        '{"type":"end"}',
        '{"type":"start"}',
        '{"type":"start","container":"hls"}',
        '{"type":"start","container":"mp4","mode":"sequence"}',
        '{"type":"start","container":"mp4","stride":0}',
    ],
)
def test_a_wrong_first_message_is_named(address: str, first: str | bytes) -> None:
    with connect(f"ws://{address}/stream") as socket:
        socket.send(first)
        (error,), closed = rest(socket)
    assert (error["type"], error["code"], closed) == ("error", "malformed_request", 4400)


def test_an_unknown_class_is_refused(address: str) -> None:
    with stream(address, "jpeg", classes=["cat"]) as socket:
        (error,), closed = rest(socket)
    assert (error["code"], closed) == ("invalid_parameter", 4422)


def test_times_that_go_back_are_refused(address: str) -> None:
    with stream(address, "jpeg") as socket:
        for time_ in (2, 1):
            socket.send(json.dumps({"type": "frame", "time": time_}))
            socket.send(jpeg(0))
        (*_, error), closed = rest(socket)
    assert (error["code"], error["emitted"], closed) == ("malformed_request", 1, 4400)


def test_a_message_that_is_too_large_is_refused(engines: FakeEngines, settings: ServerSettings) -> None:
    small = settings.model_copy(update={"max_message_bytes": 2000})
    with live_server(engines, small) as address, stream(address, "mpegts") as socket:
        socket.send(bytes(2001))
        (error,), closed = rest(socket)
    assert (error["code"], closed) == ("body_too_large", 4413)


@pytest.mark.parametrize("sent", [0, 1])
def test_a_silent_client_is_ended(engines: FakeEngines, settings: ServerSettings, sent: int) -> None:
    impatient = settings.model_copy(update={"stream_timeout": 0.3})
    with live_server(engines, impatient) as address, connect(f"ws://{address}/stream") as socket:
        if sent:
            socket.send('{"type":"start","container":"mpegts"}')
        (error,), closed = rest(socket)
    assert (error["code"], closed) == ("request_timeout", 4408)


def test_streams_beyond_the_limit_are_refused_with_a_retry_time(
    engines: FakeEngines, settings: ServerSettings
) -> None:
    one = settings.model_copy(update={"max_streams": 1})
    with live_server(engines, one) as address:
        with stream(address, "jpeg") as first:
            first.send(jpeg(0))
            first.recv(timeout=60)
            with connect(f"ws://{address}/stream") as second:
                (error,), closed = rest(second)
            assert (error["code"], closed) == ("server_busy", 4503)

        def taken() -> bool:
            with suppress(ConnectionClosed), stream(address, "jpeg") as third:
                third.send(jpeg(0))
                return bool(json.loads(third.recv(timeout=60))["type"] == "video")
            return False

        wait_until(taken)


def test_connections_without_a_start_message_hold_no_place(
    engines: FakeEngines, settings: ServerSettings
) -> None:
    one = settings.model_copy(update={"max_streams": 1})
    with live_server(engines, one) as address, ExitStack() as silent:
        for _ in range(8):
            silent.enter_context(connect(f"ws://{address}/stream"))
        with stream(address, "jpeg") as honest:
            honest.send(jpeg(0))
            assert json.loads(honest.recv(timeout=60))["type"] == "video"


def test_a_client_that_leaves_stops_the_work_within_one_batch(
    settings: ServerSettings, tmp_path: Path
) -> None:
    engines = FakeEngines(seconds_per_frame=0.03)
    with live_server(engines, settings, batch=2) as address:
        with stream(address, "matroska") as socket:
            send(socket, clip(tmp_path, "matroska", 200))
            for _ in range(5):
                socket.recv(timeout=60)
        ran = engines.frames_run
        time.sleep(0.5)
        assert engines.frames_run <= ran + 4


def test_a_client_that_reads_nothing_stops_the_sender(settings: ServerSettings) -> None:
    """What waits in the server is bounded; the rest stays in the client's own `send`."""
    engines = FakeEngines(seconds_per_frame=0.1)
    # Equal frames would be computed once. What follows an image is ignored.
    images = [jpeg(number) + bytes(200_000) for number in (0, 2)]
    sent = 0
    with live_server(engines, settings) as address, stream(address, "jpeg") as socket:

        def send_on() -> None:
            nonlocal sent
            try:
                for number in range(1000):
                    socket.send(images[number % 2])
                    sent += 1
            except ConnectionClosed:
                pass

        sender = threading.Thread(target=send_on)
        sender.start()
        time.sleep(1.5)
        # 1 MiB and a message in the server, the socket's buffers, and 8 frames ahead of the engine.
        assert engines.frames_run < 20
        assert sent < engines.frames_run + 8 + 80
        before = sent
        time.sleep(0.5)
        assert sent <= before + 10
        socket.socket.shutdown(SHUT_RDWR)
        sender.join()


def test_dropping_the_oldest_is_a_choice_and_counted(settings: ServerSettings) -> None:
    engines = FakeEngines(seconds_per_frame=0.05)
    with live_server(engines, settings) as address:
        with stream(address, "jpeg", drop="oldest") as socket:
            for number in range(60):
                socket.send(jpeg(number))
            end(socket)
            (_, *frames, summary), closed = rest(socket)
        assert summary["skipped"] > 10
        assert summary["complete"] is False
        assert summary["emitted"] == len(frames) == 60 - summary["skipped"]
        indices = [frame["index"] for frame in frames]
        assert indices == sorted(set(indices)) and indices[-1] == 59
        with stream(address, "jpeg") as socket:
            for number in range(30):
                socket.send(jpeg(number))
            end(socket)
            (_, *frames, summary), closed = rest(socket)
        assert (len(frames), summary["skipped"], closed) == (30, 0, 1000)


def test_the_streams_that_wait_longest_for_a_start_message_make_way(address: str) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(f"ws://{address}/stream")) for _ in range(MAX_WAITING + 3)]
        for early in silent[:3]:
            record = json.loads(early.recv(timeout=30))
            assert (record["type"], record["status"]) == ("error", 503)
        with pytest.raises(TimeoutError):
            silent[3].recv(timeout=0.5)


def test_an_engine_that_fails_ends_the_stream_though_the_client_still_sends(
    settings: ServerSettings, tmp_path: Path
) -> None:
    with live_server(FakeEngines(fail_at=5), settings) as address, stream(address, "matroska") as socket:
        send(socket, clip(tmp_path, "matroska"))
        (*_, error), closed = rest(socket)
    assert (error["code"], closed) == ("engine_failed", 4500)


def test_concurrent_streams_give_the_same_records_as_alone(address: str, tmp_path: Path) -> None:
    data = [clip(tmp_path, "mpegts", 30), clip(tmp_path, "matroska", 25)]
    kinds = ["mpegts", "matroska"]
    alone = [detect(address, each, kind)[0][:-1] for each, kind in zip(data, kinds, strict=True)]
    found: dict[str, Records] = {}

    def one(each: bytes, kind: str) -> None:
        found[kind] = detect(address, each, kind)[0][:-1]

    threads = [threading.Thread(target=one, args=pair) for pair in zip(data, kinds, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(found) == 2)
    assert [found[kind] for kind in kinds] == alone

"""Live streams on a real server give the records of the file."""

import asyncio
import json
import threading
import time

import av
import cv2
import pytest
from fake_engines import FakeEngines
from live_server import live_server
from media import audio_only, frame_pixels, write_video

from selsa_client import (
    AsyncClient,
    BusyError,
    Client,
    DetectionFailedError,
    IncompleteError,
    InputError,
    RejectedError,
    ServerUnreachableError,
    TimedImage,
)
from selsa_client.cli.camera import images_of
from selsa_client.cli.live_feed import index_is_in_front, recognised
from selsa_client.cli.remux import opened_video, remuxed
from selsa_client.live.link import LiveAddress
from selsa_client.live.protocol import LiveReader, live_start, messages_of, start_message
from selsa_client.wire.errors import WireFormatError
from selsa_server.schema.stream import stream_message
from selsa_server.settings import ServerSettings

COUNT = 12


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    settings = ServerSettings(spool_dir=folder, jobs_dir=folder / "jobs", max_streams=64, stream_timeout=3)
    with live_server(FakeEngines(seconds_per_frame=0.002), settings, batch=3) as address:
        yield f"http://{address}"


@pytest.fixture
def client(address):
    with Client(address) as client:
        yield client


VIDEOS = {
    "b-frames": ("mp4", {"codec": "libx264", "options": {"bf": "3", "g": "6"}}),
    "variable rate": (
        "mp4",
        {"codec": "libx264", "pts": [0, 9, 33, 40, 99, 130, 180, 250, 300, 301, 380, 999]},
    ),
    "rotated": ("mp4", {"codec": "libx264", "rotation": 90}),
    "one key frame": ("mov", {"codec": "mpeg4", "options": {"g": "999"}}),
    "vp9": ("mp4", {"codec": "libvpx-vp9"}),
    "avi": ("avi", {"codec": "mpeg4"}),
    "no codec of mp4": ("avi", {"codec": "ffv1", "pix_fmt": "yuv420p"}),
}


@pytest.mark.parametrize("kind", VIDEOS)
def test_a_remuxed_video_gives_the_records_of_the_file(client, tmp_path, kind):
    suffix, options = VIDEOS[kind]
    video = write_video(tmp_path / f"video.{suffix}", COUNT, **options)
    file = client.detect(video, mode="online").collect()
    feed = remuxed(str(video), "video", {})
    with client.stream(feed.pieces, container=feed.container) as live:
        frames = tuple(live)
    assert feed.container == ("matroska" if kind == "no codec of mp4" else "mp4")
    assert [frame.detections for frame in frames] == [frame.detections for frame in file.frames]
    # Matroska rounds to milliseconds; an AVI's frames have no time but their number.
    tolerance = 0.0 if feed.container == "mp4" else 0.0006
    times = [frame.time - frames[0].time for frame in frames]
    assert times == pytest.approx([frame.time - file.frames[0].time for frame in file.frames], abs=tolerance)
    assert (live.video.rotation, live.video.width) == (file.video.rotation, file.video.width)
    assert (live.summary.emitted, live.complete) == (COUNT, True)


def test_remuxing_keeps_the_packets(tmp_path):
    video = write_video(tmp_path / "video.mp4", COUNT, codec="libx264", options={"bf": "3"})
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(b"".join(remuxed(str(video), "video", {}).pieces))

    def packets(path):
        with av.open(str(path)) as container:
            return [(p.pts * p.time_base, bytes(p)) for p in container.demux(video=0) if p.size]

    assert packets(copy) == packets(video)
    assert not index_is_in_front(video)
    assert index_is_in_front(copy)


def test_a_long_video_is_remuxed_in_pieces(tmp_path):
    video = write_video(tmp_path / "video.mp4", 100, codec="libx264", options={"g": "999"}, size=(320, 240))
    sizes = [len(piece) for piece in remuxed(str(video), "video", {}).pieces]
    assert max(sizes) < sum(sizes) / 4


@pytest.mark.parametrize(
    ("suffix", "container"), [("mp4", "mp4"), ("mkv", "matroska"), ("ts", "mpegts"), ("avi", None)]
)
def test_containers_are_recognised_by_their_first_bytes(tmp_path, suffix, container):
    codec = "mpeg2video" if suffix == "ts" else "mpeg4"
    data = write_video(tmp_path / f"video.{suffix}", 3, codec=codec).read_bytes()
    assert recognised(data[:189]) == container
    assert recognised(b"") is None


def test_a_file_without_video_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no video in it"):
        remuxed(str(audio_only(tmp_path / "sound.mp4")), "sound.mp4", {})
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(InputError, match="text"):
        remuxed(str(tmp_path / "text.avi"), "text.avi", {})


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_camera_frames_become_images_with_times_from_zero(client, tmp_path, codec):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    pts = [500, 540, 580, 660, 700]
    options = {"pts": pts, "pix_fmt": pix_fmt}
    video = write_video(tmp_path / "camera.mkv", 5, codec=codec, **options)
    images = list(images_of(*opened_video(str(video), "camera", {})))
    assert [image.time for image in images] == pytest.approx([0, 0.04, 0.08, 0.16, 0.2])
    assert all(image.data.startswith(b"\xff\xd8\xff") for image in images)
    with client.stream(images, container="jpeg") as live:
        assert [frame.time for frame in live] == pytest.approx([0, 0.04, 0.08, 0.16, 0.2])


def jpeg(number):
    _, data = cv2.imencode(".jpg", frame_pixels(number))
    return data.tobytes()


def test_images_are_sent_while_their_records_arrive(client):
    with client.stream(container="jpeg", drop="never", score_threshold=0.5) as live:
        frames = iter(live)
        for number in range(5):
            live.send(jpeg(number), time=number / 10)
            frame = next(frames)
            assert (frame.index, frame.time) == (number, pytest.approx(number / 10))
        live.end()
        assert list(frames) == []
        assert live.summary.emitted == 5
        with pytest.raises(RuntimeError, match="ended"):
            live.send(jpeg(0))


def test_the_asynchronous_stream_does_the_same(address):
    async def images():
        for number in range(4):
            yield TimedImage(jpeg(number), float(number))

    async def run():
        async with AsyncClient(address) as client, client.stream(images(), container="jpeg") as live:
            return [frame.time async for frame in live], live.summary.emitted

    assert asyncio.run(run()) == ([0, 1, 2, 3], 4)


@pytest.mark.parametrize("kind", ["path", "bytes", "file", "iterable"])
def test_sources_of_all_kinds_are_sent_alike(client, tmp_path, kind):
    path = write_video(tmp_path / "video.mkv", COUNT, codec="mpeg4")
    data = path.read_bytes()
    sources = {
        "path": path,
        "bytes": data,
        "file": path.open("rb"),
        "iterable": (data[i : i + 7] for i in range(0, len(data), 7)),
    }
    with client.stream(sources[kind], container="matroska") as live:
        assert len(list(live)) == COUNT
    sources["file"].close()


def test_a_refusal_of_the_server_has_its_code(client, tmp_path):
    video = write_video(tmp_path / "video.mp4", 3, codec="mpeg4")
    with (
        pytest.raises(RejectedError, match="not_streamable"),
        client.stream(video, container="mp4") as live,
    ):
        list(live)
    with (
        pytest.raises(RejectedError, match=r"no model .none."),
        client.stream(b"", container="mp4", model="none") as live,
    ):
        list(live)


def test_a_server_without_a_free_stream_is_busy(tmp_path):
    settings = ServerSettings(spool_dir=tmp_path, jobs_dir=tmp_path / "jobs", max_streams=1)
    with (
        live_server(FakeEngines(), settings) as address,
        Client(f"http://{address}") as client,
        client.stream(container="jpeg") as first,
    ):
        first.send(jpeg(0))
        assert next(first.records()).type == "video"
        with pytest.raises(BusyError), client.stream(container="jpeg") as second:
            list(second)


def test_a_source_that_fails_is_an_error_where_the_records_are_read(client):
    def pieces():
        yield jpeg(0)
        raise InputError("the camera was unplugged")

    with pytest.raises(InputError, match="unplugged"), client.stream(pieces(), container="jpeg") as live:
        list(live)


def test_a_blocked_source_does_not_block_leaving(client):
    waiting, release = threading.Event(), threading.Event()

    def pieces():
        yield jpeg(0)
        waiting.set()
        release.wait(300)

    began = time.monotonic()
    with client.stream(pieces(), container="jpeg") as live:
        assert next(iter(live)).index == 0
        assert waiting.wait(60)
    assert time.monotonic() - began < 60
    release.set()


def test_sending_much_and_reading_late_does_not_deadlock(client, tmp_path):
    video = write_video(tmp_path / "video.mkv", 400, codec="mpeg4")
    with client.stream(video, container="matroska") as live:
        time.sleep(1)
        assert len(list(live)) == 400


def test_a_silent_client_gets_an_error(client):
    with pytest.raises(RejectedError, match="No message came"), client.stream(container="jpeg") as live:
        list(live)


def test_a_stream_without_a_server_is_unreachable(tmp_path):
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(ServerUnreachableError, match=r"ws://127\.0\.0\.1:1/stream"),
        client.stream(container="jpeg"),
    ):
        pass


def test_a_server_with_keys_refuses_requests_without_one(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    settings = ServerSettings(spool_dir=tmp_path, jobs_dir=tmp_path / "jobs", api_keys_file=keys)
    with live_server(FakeEngines(), settings) as address:
        with Client(f"http://{address}") as client:
            with pytest.raises(RejectedError), client.stream(container="jpeg"):
                pass
            with pytest.raises(RejectedError, match="API key"):
                client.model()
        with Client(f"http://{address}", api_key="secret") as client:
            with client.stream([jpeg(0)], container="jpeg") as live:
                assert len(list(live)) == 1
            assert client.model().name == "fake"


def test_a_server_that_stops_during_a_stream_is_an_error(tmp_path):
    settings = ServerSettings(spool_dir=tmp_path, jobs_dir=tmp_path / "jobs", drain_timeout=0.1)
    with live_server(FakeEngines(), settings) as address:
        client = Client(f"http://{address}")
        live = client.stream(container="jpeg")
        live.open()
        live.send(jpeg(0))
        assert next(live.records()).type == "video"
    with pytest.raises((IncompleteError, DetectionFailedError)):
        list(live)
    live.close()
    client.close()


def test_the_first_message_has_only_values_other_than_the_defaults():
    start = live_start("mpegts", {"stride": 2, "classes": ["dog"]})
    message = {"type": "start", "container": "mpegts", "classes": ["dog"], "stride": 2}
    assert json.loads(start_message(start)) == message
    assert stream_message(start_message(start)) == start


def test_images_are_one_message_and_other_bytes_are_split():
    big = bytes(200_000)
    assert list(messages_of(big, "jpeg")) == [big]
    pieces = list(messages_of(big, "mp4"))
    assert b"".join(pieces) == big
    assert max(map(len, pieces)) <= 65536
    assert list(messages_of(TimedImage(b"x", 1.5), "jpeg")) == ['{"type":"frame","time":1.5}', b"x"]


@pytest.mark.parametrize("message", [b"{}", "{}", "nonsense"])
def test_a_message_that_is_not_a_record_is_an_error(message):
    with pytest.raises(WireFormatError):
        list(LiveReader().accept(message))


@pytest.mark.parametrize(
    ("server", "url"),
    [("http://h:8000", "ws://h:8000/stream"), ("https://h/selsa/", "wss://h/selsa/stream")],
)
def test_the_address_of_a_stream_follows_from_the_servers(server, url):
    assert LiveAddress(server).url == url

"""A live video without a server gives the records of the file; what its source does is told or waited for."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from fake_engines import FakeEngines
from fakes import fake_pipeline
from media import frame_pixels, write_video

from selsa_server.errors import ParameterError, VideoError
from selsa_server.pipeline.local_live import stream_on
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord
from selsa_server.schema.stream import StreamStart

COUNT = 20


def start(container: str, **options: object) -> StreamStart:
    return StreamStart.model_validate({"type": "start", "container": container, **options})


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", frame_pixels(number))[1].tobytes()


def test_a_stream_gives_the_frames_of_the_file_in_online_mode(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mkv", COUNT, codec="mpeg4")
    pipeline = fake_pipeline(FakeEngines(), batch=3)
    data = video.read_bytes()
    pieces = (data[at : at + 777] for at in range(0, len(data), 777))
    live = list(stream_on(pipeline, pieces, start("matroska", stride=3)))
    file = list(pipeline.run(video, DetectParams(mode="online", stride=3)))
    assert [each for each in live if isinstance(each, FrameRecord)] == [
        each for each in file if isinstance(each, FrameRecord)
    ]
    assert isinstance(live[-1], SummaryRecord)


def test_images_come_with_their_times() -> None:
    pieces = [(jpeg(number), number / 10) for number in range(4)]
    live = list(stream_on(fake_pipeline(FakeEngines()), pieces, start("jpeg")))
    assert [each.time for each in live if isinstance(each, FrameRecord)] == [0, 0.1, 0.2, pytest.approx(0.3)]


@pytest.mark.parametrize("before", [0, 3])
def test_a_source_that_fails_is_that_error_and_never_a_summary(before: int) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (jpeg(number) for number in range(before))
        raise OSError("the camera was unplugged")

    seen = []
    with pytest.raises(OSError, match="unplugged"):
        seen.extend(stream_on(fake_pipeline(FakeEngines()), pieces(), start("jpeg")))
    assert not any(isinstance(each, SummaryRecord) for each in seen)


def test_leaving_releases_the_source_in_its_own_thread() -> None:
    closed_by: list[str] = []
    waiting = threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield jpeg(0)
                waiting.set()
                time.sleep(0.01)
        finally:
            closed_by.append(threading.current_thread().name)

    records = stream_on(fake_pipeline(FakeEngines()), pieces(), start("jpeg"))
    next(records)
    records.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 60
    while not closed_by and time.monotonic() < until:
        time.sleep(0.01)
    assert closed_by == ["live source"]


def test_unknown_classes_and_wrong_containers_are_refused() -> None:
    pipeline = fake_pipeline(FakeEngines())
    with pytest.raises(ParameterError):
        list(stream_on(pipeline, [], start("jpeg", classes=["unicorn"])))
    with pytest.raises(VideoError):
        list(stream_on(pipeline, [b"no video"], start("mp4")))

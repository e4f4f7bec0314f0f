"""Client and AsyncClient behave alike, on a mock transport."""

import inspect
import io

import httpx
import pytest
from driven_clients import NDJSON, Async, Plain, handler_of
from pydantic import ValidationError

from selsa_client import (
    AsyncClient,
    BusyError,
    Client,
    DetectionFailedError,
    FrameRecord,
    IncompleteError,
    InputError,
    RejectedError,
    ResponseError,
    ServerUnreachableError,
    WireFormatError,
)
from selsa_client.jobs import AsyncJobs, Jobs
from selsa_client.live.async_stream import AsyncLiveStream
from selsa_client.live.stream import LiveStream
from selsa_client.models import AsyncModels, Models
from selsa_client.stream import AsyncDetectionStream, DetectionStream


@pytest.fixture(params=[Plain, Async])
def client_on(request):
    return request.param


def test_a_loop_gives_the_frames_in_order(client_on, samples, clip):
    driver = client_on(handler_of([httpx.Response(200, headers=NDJSON, content=samples.whole)]))
    frames = driver.frames(clip)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert all(isinstance(frame, FrameRecord) for frame in frames)


def test_the_request_carries_the_file_and_the_parameters(client_on, samples, clip):
    seen = []
    driver = client_on(handler_of([httpx.Response(200, headers=NDJSON, content=samples.whole)], seen))
    document = driver.collect(str(clip), score_threshold=0.5, classes=["dog"], mode="sequence")
    [(request, body)] = seen
    assert str(request.url) == "http://server/detect?score_threshold=0.5&classes=dog"
    assert request.headers["content-length"] == str(clip.stat().st_size)
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.headers["user-agent"].startswith("selsa/")
    assert "transfer-encoding" not in request.headers
    assert body == clip.read_bytes()
    assert document.video.width == 64
    assert len(document.frames) == document.summary.emitted == 3


@pytest.mark.parametrize("make", [bytes, io.BytesIO, lambda data: iter([data[:9], b"", data[9:]])])
def test_bytes_files_and_iterables_are_sent_alike(client_on, samples, make):
    seen = []
    data = bytes(range(256)) * 3000
    driver = client_on(handler_of([httpx.Response(200, headers=NDJSON, content=samples.whole)], seen))
    driver.collect(make(data))
    assert seen[0][1] == data


def test_asynchronous_iterables_are_sent_by_the_asynchronous_client(samples):
    async def pieces():
        yield b"ab"
        yield b""
        yield b"c"

    seen = []
    driver = Async(handler_of([httpx.Response(200, headers=NDJSON, content=samples.whole)], seen))
    driver.collect(pieces())
    assert seen[0][1] == b"abc"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: httpx.Response(415, content=b"?"), RejectedError),
        (lambda: httpx.Response(503), BusyError),
        (lambda: httpx.Response(200, html="<title>Sign in</title>"), ResponseError),
        (lambda: httpx.Response(301, headers={"Location": "https://x/"}), ResponseError),
        (lambda: httpx.Response(200, headers=NDJSON, content=b"{}\n"), WireFormatError),
        (lambda: httpx.Response(200, headers=NDJSON), IncompleteError),
        (lambda: httpx.ConnectError("refused"), ServerUnreachableError),
        (lambda: httpx.ReadTimeout("slow"), ServerUnreachableError),
        (lambda: httpx.RemoteProtocolError("gone"), ServerUnreachableError),
    ],
)
def test_each_failure_raises_its_error(client_on, clip, answer, error):
    with pytest.raises(error):
        client_on(handler_of([answer()])).collect(clip)


def test_a_failure_after_the_first_frames_raises(client_on, samples, clip):
    driver = client_on(handler_of([httpx.Response(200, headers=NDJSON, content=samples.failed)]))
    with pytest.raises(DetectionFailedError, match="send the whole file"):
        driver.frames(clip)


@pytest.mark.parametrize("path", ["missing.mp4", "."])
def test_a_file_that_cannot_be_read_is_an_input_error_and_nothing_is_sent(client_on, tmp_path, path):
    with pytest.raises(InputError, match="Cannot read"):
        client_on(handler_of([])).collect(tmp_path / path)


def test_an_invalid_parameter_is_refused_before_anything_is_sent(client_on, clip):
    with pytest.raises(ValidationError):
        client_on(handler_of([])).collect(clip, stride=0)
    with pytest.raises(ValidationError):
        client_on(handler_of([])).collect(clip, tresh=1)


def busy(seconds=0):
    return httpx.Response(503, headers={"Retry-After": str(seconds)})


def test_a_retry_sends_the_whole_file(client_on, samples, clip):
    seen = []
    answers = [busy(), busy(), httpx.Response(200, headers=NDJSON, content=samples.whole)]
    driver = client_on(handler_of(answers, seen), retries=2)
    assert len(driver.frames(clip)) == 3
    assert [body for _, body in seen] == [clip.read_bytes()] * 3


def test_a_retry_sends_a_file_object_from_its_original_position(client_on, samples):
    seen = []
    file = io.BytesIO(b"header" + b"video")
    file.seek(6)
    answers = [busy(), httpx.Response(200, headers=NDJSON, content=samples.whole)]
    client_on(handler_of(answers, seen), retries=1).collect(file)
    assert [body for _, body in seen] == [b"video"] * 2
    assert [request.headers["content-length"] for request, _ in seen] == ["5", "5"]


def test_an_iterator_is_not_sent_again(client_on):
    with pytest.raises(BusyError):
        client_on(handler_of([busy()]), retries=5).collect(iter([b"video"]))


def test_retries_end(client_on, clip):
    with pytest.raises(BusyError) as caught:
        client_on(handler_of([busy(), busy()]), retries=1).collect(clip)
    assert caught.value.retry_after == 0


def test_no_other_error_is_retried(client_on, clip):
    with pytest.raises(ResponseError):
        client_on(handler_of([httpx.Response(500)]), retries=5).collect(clip)


def test_model_and_ready(client_on, samples):
    driver = client_on(handler_of([httpx.Response(200, json=samples.video["model"])]))
    assert driver.call("model").name == "selsa-r18-dc5"
    assert client_on(handler_of([httpx.Response(200)])).call("ready") is True
    assert client_on(handler_of([httpx.Response(503)])).call("ready") is False
    with pytest.raises(RejectedError):
        client_on(handler_of([httpx.Response(404)])).call("ready")
    with pytest.raises(WireFormatError):
        client_on(handler_of([httpx.Response(200, json={})])).call("model")


def test_the_video_is_known_after_opening_and_the_summary_at_the_end(samples, clip):
    driver = Plain(handler_of([httpx.Response(200, headers=NDJSON, content=samples.whole)]))
    stream = driver.client.detect(clip)
    with pytest.raises(RuntimeError, match="not known"):
        _ = stream.video
    with stream:
        assert stream.video.codec == "ffv1"
        with pytest.raises(RuntimeError, match="not known"):
            _ = stream.summary
        assert len(list(stream)) == 3
        assert stream.summary.complete


def test_the_asynchronous_client_mirrors_the_blocking_one():
    for plain, mirror in (
        (Client, AsyncClient),
        (DetectionStream, AsyncDetectionStream),
        (LiveStream, AsyncLiveStream),
        (Jobs, AsyncJobs),
        (Models, AsyncModels),
    ):
        names = {name for name in dir(plain) if not name.startswith("_")}
        assert names == {name for name in dir(mirror) if not name.startswith("_")}
        for name in names:
            if callable(getattr(plain, name)):
                ours, theirs = (inspect.signature(getattr(each, name)) for each in (plain, mirror))
                assert list(ours.parameters) == list(theirs.parameters)

"""After a break the client continues as a job after the last record, with retries."""

import io
import json
import os

import httpx
import pytest
from driven_clients import NDJSON, Async, Plain

from selsa_client import (
    DetectionFailedError,
    IncompleteError,
    InputError,
    RejectedError,
    ServerUnreachableError,
)

JOB = {
    "id": "j1",
    "state": "queued",
    "model": None,
    "bundle": "sha256:0",
    "progress": {"done": 0, "total": None},
    "created": "2026-01-01T00:00:00Z",
    "started": None,
    "ended": None,
    "estimated_end": None,
    "expires": None,
    "error": None,
}


class Breaking(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks off after its bytes."""

    def __init__(self, body):
        self.body = body

    def __iter__(self):
        yield self.body
        raise httpx.ReadError("connection reset")

    async def __aiter__(self):
        yield self.body
        raise httpx.ReadError("connection reset")


class FakeServer:
    """Gives queued answers by method and path, and records the requests."""

    def __init__(self, **answers):
        self.answers = {name: list(found) for name, found in answers.items()}
        self.asked = []

    def __call__(self, request):
        plain = isinstance(request.stream, httpx.SyncByteStream)
        return self.plain(request) if plain else self.asynchronous(request)

    def plain(self, request):
        return self.answer(request, request.read())

    async def asynchronous(self, request):
        return self.answer(request, await request.aread())

    def answer(self, request, body):
        kind = {
            ("POST", "/detect"): "detect",
            ("POST", "/v1/jobs"): "submit",
            ("GET", "/v1/jobs/j1/results"): "results",
            ("DELETE", "/v1/jobs/j1"): "delete",
        }[request.method, request.url.path]
        self.asked.append((kind, request, body))
        answer = self.answers[kind].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def kinds(self):
        return [kind for kind, _, _ in self.asked]


def broken(body=b""):
    return httpx.Response(200, headers=NDJSON, stream=Breaking(body))


def records(body):
    return httpx.Response(200, headers=NDJSON, content=body)


def job(**fields):
    return httpx.Response(202, json=JOB | fields)


def gone():
    return httpx.Response(204)


@pytest.fixture(params=[Plain, Async])
def client_on(request):
    return request.param


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Records the delays instead of waiting."""
    waits = []

    async def note(seconds):
        waits.append(seconds)

    monkeypatch.setattr("selsa_client.http.link.time.sleep", waits.append)
    monkeypatch.setattr("selsa_client.http.link.anyio.sleep", note)
    return waits


def test_a_broken_upload_continues_as_a_job_that_is_then_deleted(client_on, samples, clip, no_waiting):
    server = FakeServer(
        detect=[httpx.WriteError("reset")], submit=[job()], results=[records(samples.whole)], delete=[gone()]
    )
    frames = client_on(server, retries=1).frames(clip)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert server.kinds == ["detect", "submit", "results", "delete"]
    (_, submitted, body), (_, read, _) = server.asked[1:3]
    assert body == clip.read_bytes()
    assert submitted.headers["idempotency-key"]
    assert dict(read.url.params) == {"after": "0", "follow": "true"}
    assert 1 <= no_waiting[0] <= 1.25


@pytest.mark.parametrize("cut", [0, 5, 60])
def test_broken_records_continue_after_the_last_complete_one(client_on, samples, clip, cut):
    head = samples.ndjson(samples.video, *samples.frames[:2])
    received = samples.ndjson(samples.frames[2])[:cut]
    rest = samples.ndjson(samples.frames[2], samples.summary)
    server = FakeServer(
        detect=[broken(head + received)], submit=[job()], results=[records(rest)], delete=[gone()]
    )
    document = client_on(server, retries=1).collect(clip)
    assert [frame.index for frame in document.frames] == [0, 1, 2]
    assert server.asked[2][1].url.params["after"] == "3"


def test_a_job_is_read_over_as_many_connections_as_necessary(client_on, samples, clip):
    lines = [samples.ndjson(each) for each in (samples.video, *samples.frames, samples.summary)]
    server = FakeServer(
        detect=[httpx.RemoteProtocolError("gone")],
        submit=[job()],
        # Each connection gives one more record, which resets the count of retries.
        results=[*(broken(line) for line in lines[:-1]), records(lines[-1])],
        delete=[gone()],
    )
    assert len(client_on(server, retries=1).frames(clip)) == 3
    asked = [request.url.params["after"] for kind, request, _ in server.asked if kind == "results"]
    assert asked == ["0", "1", "2", "3", "4"]


def test_the_client_waits_for_a_server_that_restarts(client_on, samples, clip):
    draining = {**samples.error, "code": "draining", "status": 503}
    server = FakeServer(
        detect=[httpx.ReadError("reset")],
        submit=[httpx.ConnectError("refused"), job()],
        results=[
            records(samples.ndjson(samples.video, draining)),
            httpx.ConnectError("refused"),
            httpx.Response(503, headers={"Retry-After": "7"}),
            records(samples.ndjson(*samples.frames, samples.summary)),
        ],
        delete=[httpx.ConnectError("refused")],
    )
    assert len(client_on(server, retries=3).frames(clip)) == 3


def test_retries_end_when_no_record_arrives(client_on, samples, clip):
    server = FakeServer(
        detect=[broken(samples.ndjson(samples.video, samples.frames[0]))],
        submit=[job()],
        results=[broken(), broken(), broken()],
        delete=[gone()],
    )
    with pytest.raises(IncompleteError, match="after 1 of at most 3 frames"):
        client_on(server, retries=2).frames(clip)
    assert server.kinds[-1] == "delete"


def test_leaving_the_stream_cancels_the_job(samples, clip):
    server = FakeServer(
        detect=[httpx.WriteError("reset")],
        submit=[job()],
        results=[records(samples.whole)],
        delete=[gone()],
    )
    with Plain(server, retries=1).client.detect(clip) as stream:
        assert next(iter(stream)).index == 0
    assert server.kinds[-1] == "delete"


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: httpx.Response(404),
        lambda: httpx.Response(503, json={"type": "", "title": "", "status": 503, "detail": "",
                                          "code": "jobs_unavailable"}),
        lambda: httpx.Response(507),
    ],
)  # fmt: skip
def test_without_jobs_on_the_server_the_request_is_sent_again(client_on, samples, clip, refusal):
    server = FakeServer(
        detect=[httpx.WriteError("reset"), records(samples.whole)], submit=[refusal(), refusal(), refusal()]
    )
    assert len(client_on(server, retries=2).frames(clip)) == 3
    assert (server.kinds[0], server.kinds[-1]) == ("detect", "detect")


def test_without_jobs_on_the_server_broken_records_are_incomplete(client_on, samples, clip):
    head = samples.ndjson(samples.video, samples.frames[0])
    server = FakeServer(detect=[broken(head)], submit=[httpx.Response(404)])
    with pytest.raises(IncompleteError, match="connection broke"):
        client_on(server, retries=3).frames(clip)


def test_records_of_two_bundles_are_not_mixed(client_on, samples, clip):
    head = samples.ndjson(samples.video, samples.frames[0])
    server = FakeServer(detect=[broken(head)], submit=[job(bundle="sha256:1")], delete=[gone()])
    with pytest.raises(IncompleteError, match="another bundle"):
        client_on(server, retries=1).frames(clip)
    assert server.kinds[-1] == "delete"


@pytest.mark.parametrize("status", [408, 502, 504])
def test_answers_about_the_connection_count_as_breaks(client_on, samples, clip, status):
    code = {"code": "request_timeout"} if status == 408 else None
    body = json.dumps({"type": "", "title": "", "status": 408, "detail": "", **code}) if code else "<html>"
    server = FakeServer(
        detect=[httpx.Response(status, text=body)],
        submit=[job()],
        results=[records(samples.whole)],
        delete=[gone()],
    )
    assert len(client_on(server, retries=1).frames(clip)) == 3


def test_a_deadline_of_the_server_is_not_a_break(client_on, clip):
    problem = {"type": "", "title": "", "status": 504, "detail": "Too long.", "code": "deadline_exceeded"}
    with pytest.raises(Exception, match="Too long"):
        client_on(FakeServer(detect=[httpx.Response(504, json=problem)]), retries=3).frames(clip)


def test_without_retries_a_break_raises_at_once(client_on, samples, clip):
    with pytest.raises(ServerUnreachableError, match="broke"):
        client_on(FakeServer(detect=[httpx.WriteError("reset")])).frames(clip)
    with pytest.raises(IncompleteError, match="broke"):
        client_on(FakeServer(detect=[broken(samples.ndjson(samples.video))])).frames(clip)


def test_a_server_that_never_answered_is_not_retried(client_on, clip, no_waiting):
    server = FakeServer(detect=[httpx.ConnectError("refused")])
    with pytest.raises(ServerUnreachableError, match="No server"):
        client_on(server, retries=5).frames(clip)
    assert no_waiting == []


def test_a_source_that_can_be_read_once_is_sent_once(client_on, tmp_path):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)  # so that opening it for reading does not block
    os.write(end, b"video")
    os.set_blocking(end, False)
    for source in (iter([b"video"]), Pipe(b"video")):
        server = FakeServer(detect=[httpx.WriteError("reset")])
        with pytest.raises(ServerUnreachableError):
            client_on(server, retries=3).collect(source)
        assert server.kinds == ["detect"]
    from selsa_client.http.upload import UploadSource

    assert not UploadSource(fifo).repeatable
    os.close(end)


def test_a_file_that_changed_is_not_sent_again(client_on, clip):
    def change(_sent, _total):
        os.utime(clip, ns=(1, 1))

    server = FakeServer(detect=[httpx.WriteError("reset")], submit=[])
    driver = client_on(server, retries=2)
    with pytest.raises(InputError, match="changed while it was being sent"):
        driver.collect(clip, on_upload=change)


def test_a_failed_job_raises_the_error_of_its_record(client_on, samples, clip):
    server = FakeServer(
        detect=[httpx.WriteError("reset")],
        submit=[job()],
        results=[records(samples.failed)],
        delete=[gone()],
    )
    with pytest.raises(DetectionFailedError, match="send the whole file"):
        client_on(server, retries=3).frames(clip)


def test_a_refused_job_raises_the_refusal(client_on, clip, samples):
    server = FakeServer(
        detect=[httpx.WriteError("reset")],
        submit=[httpx.Response(413, content=samples.problem(413, "body_too_large"))],
    )
    with pytest.raises(RejectedError, match="body_too_large"):
        client_on(server, retries=3).frames(clip)

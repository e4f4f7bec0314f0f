"""Jobs, events and models, on transports that break and on a real server."""

import asyncio
import io
import json
import socket
import threading
from contextlib import suppress
from itertools import pairwise

import httpx
import pytest
from driven_clients import NDJSON, Async, Plain, handler_of
from fake_engines import FakeEngines
from hypothesis import given
from hypothesis import strategies as st
from live_server import live_server
from media import write_video

from selsa_client import AsyncClient, BusyError, Client, InputError, RejectedError, ServerUnreachableError
from selsa_client.http.job_requests import EventReader
from selsa_client.http.retries import RetryPolicy
from selsa_client.wire.errors import WireFormatError
from selsa_server.settings import ServerSettings

JOB = {
    "id": "j1",
    "state": "running",
    "model": "small",
    "bundle": "sha256:0",
    "progress": {"done": 1, "total": 3},
    "created": "2026-01-01T00:00:00Z",
    "started": None,
    "ended": None,
    "estimated_end": None,
    "expires": None,
    "error": None,
}


@pytest.fixture(params=[Plain, Async])
def client_on(request):
    return request.param


def event(number, kind="progress", **fields):
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(JOB | fields)}\n\n".encode()


def events(*parts):
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=b"".join(parts))


def test_submitting_sends_the_video_and_returns_the_job(client_on, clip):
    seen = []
    driver = client_on(handler_of([httpx.Response(202, json=JOB)], seen))
    job = driver.call("jobs.submit", clip, stride=3, idempotency_key="mine")
    [(request, body)] = seen
    assert (job.id, job.state, job.progress.total) == ("j1", "running", 3)
    assert str(request.url) == "http://server/v1/jobs?stride=3"
    assert request.headers["idempotency-key"] == "mine"
    assert body == clip.read_bytes()


def test_submitting_an_address_again_after_a_break_gives_the_same_job(client_on):
    seen = []
    answers = [httpx.ReadError("broke"), httpx.Response(202, json=JOB), httpx.Response(202, json=JOB)]
    driver = client_on(handler_of(answers, seen), retries=1)
    for _ in range(2):
        driver.call("jobs.submit_url", "https://a.example/b.mp4", stride=3, webhook="https://h.example/")
    (first, body), (again, _), (other, _) = seen
    assert json.loads(body) == {"url": "https://a.example/b.mp4"}
    assert dict(first.url.params) == {"stride": "3", "webhook": "https://h.example/"}
    assert first.headers["content-type"] == "application/json"
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"]
    assert other.headers["idempotency-key"] != first.headers["idempotency-key"]


def test_a_busy_queue_is_retried_unless_the_source_can_be_read_once(client_on, clip):
    def busy():
        return httpx.Response(503, headers={"Retry-After": "0"})

    seen = []
    driver = client_on(handler_of([busy(), httpx.Response(200, json=JOB)], seen), retries=1)
    assert driver.call("jobs.submit", clip).id == "j1"
    assert seen[0][1] == seen[1][1]
    with pytest.raises(BusyError):
        client_on(handler_of([busy()]), retries=1).call("jobs.submit", iter([b"video"]))


def test_results_after_n_records_start_there(client_on, samples):
    body = samples.ndjson(*samples.frames[1:], samples.summary)
    driver = client_on(handler_of([httpx.Response(200, headers=NDJSON, content=body)], seen := []))
    assert [frame.index for frame in driver.each("jobs.results", "j1", after=2)] == [1, 2]
    assert dict(seen[0][0].url.params) == {"after": "2", "follow": "true"}


def test_results_that_are_final_now_may_be_incomplete(samples):
    headers = {**NDJSON, "Selsa-Complete": "false"}
    body = samples.ndjson(samples.video, samples.frames[0])
    stream = Plain(handler_of([httpx.Response(200, headers=headers, content=body)])).call(
        "jobs.results", "j1", follow=False
    )
    assert [frame.index for frame in stream] == [0]
    assert not stream.complete


def test_a_job_id_cannot_lead_to_another_path(client_on):
    seen = []
    with pytest.raises(RejectedError):
        client_on(handler_of([httpx.Response(404)], seen)).call("jobs.get", "../model?x=1#y")
    assert seen[0][0].url.raw_path == b"/v1/jobs/..%2Fmodel%3Fx%3D1%23y"


def test_events_continue_after_a_break_and_stop_at_the_end(client_on):
    first = events(b"retry: 1000\n\n", event(4), b": still there\n\n", event(5)[:-9])
    second = events(event(5), event(7, "end", state="done"), event(8))
    seen = []
    driver = client_on(handler_of([first, httpx.ConnectError("refused"), second], seen), retries=2)
    driver.client._http.retry = Immediately(retries=2)
    assert [job.state for job in driver.each("jobs.events", "j1")] == ["running", "running", "done"]
    assert [request.headers["last-event-id"] for request, _ in seen] == ["0", "4", "4"]


class Immediately(RetryPolicy):
    """Retries without a delay; the delays have tests of their own."""

    def delay(self, attempt, error, *, jitter):
        return None if super().delay(attempt, error, jitter=jitter) is None else 0.0


def test_waiting_returns_the_job_at_its_end(client_on):
    driver = client_on(handler_of([events(event(1), event(2, "end", state="failed"))]))
    assert driver.call("jobs.wait", "j1").state == "failed"


def test_events_that_end_before_the_job_are_an_error(client_on):
    with pytest.raises(ServerUnreachableError, match="although the job has not"):
        client_on(handler_of([events(event(1))])).each("jobs.events", "j1")


@given(st.data())
def test_events_split_at_any_position_are_the_same(data):
    whole = b": hi\r\n\r\nretry: 5\n\n" + event(1) + event(2).replace(b"\n", b"\r\n") + event(3, "end")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=9)))
    edges = [0, *cuts, len(whole)]
    reader = EventReader()
    found = [kind for a, b in pairwise(edges) for kind, body in reader.feed(whole[a:b]) if json.loads(body)]
    assert (found, reader.last_id) == (["progress", "progress", "end"], "3")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("jobs.get", ["j"]), ("model", []), ("models.all", []), ("models.get", ["m"])],
)
def test_an_answer_from_another_service_is_an_error(client_on, name, arguments):
    with pytest.raises(WireFormatError, match="is this a selsa server"):
        client_on(handler_of([httpx.Response(200, json={"hello": 1})])).call(name, *arguments)
    with pytest.raises(WireFormatError, match="longer than"):
        client_on(handler_of([httpx.Response(200, content=bytes(5 << 20))])).call(name, *arguments)


def test_changes_are_not_repeated_when_the_answer_is_lost(client_on):
    for name, arguments in (("jobs.cancel", ["j"]), ("models.unload", ["m"]), ("models.load", ["m", "p"])):
        with pytest.raises(ServerUnreachableError):
            client_on(handler_of([httpx.ReadError("gone")]), retries=3).call(name, *arguments)


def test_the_key_is_sent_with_every_request(client_on, samples):
    seen = []
    driver = client_on(handler_of([httpx.Response(200)], seen), api_key="secret")
    driver.call("ready")
    assert seen[0][0].headers["authorization"] == "Bearer secret"


# On a real server -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", 30, codec="mpeg4")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    settings = ServerSettings(spool_dir=folder, jobs_dir=folder / "jobs", bundle_dir=folder)
    with live_server(FakeEngines(seconds_per_frame=0.005), settings, batch=3) as address:
        yield f"http://{address}"


def test_a_job_from_its_upload_to_its_end(address, video):
    with Client(address) as client:
        alone = client.detect(video, stride=2).collect()
        job = client.jobs.submit(video, stride=2)
        assert client.jobs.submit(video, stride=2).id == job.id
        states = [each.state for each in client.jobs.events(job.id)]
        assert states[-1] == "done"
        assert client.jobs.wait(job.id).progress.done == len(alone.frames)
        assert client.jobs.results(job.id).collect().frames == alone.frames
        client.jobs.cancel(job.id)
        with pytest.raises(RejectedError, match="job_not_found"):
            client.jobs.get(job.id)


def test_a_job_from_its_upload_to_its_end_asynchronously(address, video):
    async def run():
        async with AsyncClient(address) as client:
            job = await client.jobs.submit(video, stride=3)
            frames = [frame.index async for frame in client.jobs.results(job.id)]
            assert (await client.jobs.wait(job.id)).state == "done"
            await client.jobs.cancel(job.id)
            return frames

    assert asyncio.run(run()) == list(range(0, 30, 3))


def test_models_are_listed_and_refusals_have_their_code(address):
    with Client(address) as client:
        [model] = client.models.all()
        assert (model.name, model.state, model.default) == ("fake", "ready", True)
        assert client.models.get("fake").bundle == model.bundle
        with pytest.raises(RejectedError, match="model_not_found"):
            client.models.make_default("other")
        with pytest.raises(RejectedError, match="model_is_default"):
            client.models.unload("fake")
        with pytest.raises(RejectedError, match="nowhere"):
            client.models.load("new", "nowhere")


class CuttingProxy:
    """Passes connections on to a server; breaks the first ones off after so many bytes, up or down."""

    def __init__(self, address, *, up=(), down=()):
        host, port = address.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._limits = {"up": list(up), "down": list(down)}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            there = socket.create_connection(self._target)
            limits = {way: (left.pop(0) if left else None) for way, left in self._limits.items()}
            for source, target, way in ((here, there, "up"), (there, here, "down")):
                threading.Thread(target=self._pass, args=(source, target, limits[way]), daemon=True).start()

    @staticmethod
    def _pass(source, target, left):
        try:
            while part := source.recv(4096):
                target.sendall(part[:left])
                if left is not None and (left := left - len(part)) <= 0:
                    break
        except OSError:
            pass
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()


@pytest.mark.parametrize(
    "cuts",
    [{"up": [6_000]}, {"down": [3_000]}, {"down": [3_000, None, 2_000, 2_500]}],
    ids=["upload", "answer", "again and again"],
)
def test_no_frame_is_lost_when_a_real_connection_breaks(address, tmp_path, cuts):
    video = write_video(tmp_path / "long.mp4", 150, codec="mpeg4")
    assert video.stat().st_size > 8_000
    proxy = CuttingProxy(address, **cuts)
    with Client(address) as client:
        alone = client.detect(video).collect()
    with Client(proxy.address, retries=2) as client:
        client._http.retry = Immediately(retries=2)
        seen = client.detect(video).collect()
    proxy.close()
    assert seen.frames == alone.frames
    assert proxy.connections > 2
    with Client(address) as client:
        assert client.ready()


def test_a_source_that_fails_is_an_input_error(address):
    class Failing(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with Client(address) as client, pytest.raises(InputError, match="Input/output"):
        client.jobs.submit(Failing())

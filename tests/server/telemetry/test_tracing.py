"""Traces, over the wire as a collector gets them: real spans, the real exporter."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from live_server import wait_until
from media import write_video
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import ValidationError

from selsa_server.api.app import build_app
from selsa_server.settings import ServerSettings

NDJSON = {"Accept": "application/x-ndjson"}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps the spans."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def named(self, name: str) -> Span:
        wait_until(lambda: any(span.name == name for span in self.spans))
        return next(span for span in self.spans if span.name == name)


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.resource |= {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans leave at once and not after seconds, and a collector that is not there is given up soon."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")


@pytest.fixture
def traced(soon: None, collector: Collector, settings: ServerSettings) -> Iterator[TestClient]:
    settings = settings.model_copy(update={"otlp_endpoint": collector.endpoint})
    with TestClient(build_app(fake_pipeline(FakeEngines()), settings, fork_server=FORK_SERVER)) as client:
        yield client


@pytest.fixture
def video(tmp_path: Path) -> bytes:
    return write_video(tmp_path / "video.mp4").read_bytes()


def attributes(span: Span) -> dict[str, str | int | bool]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_a_request_is_a_span_with_its_parts_as_children(
    traced: TestClient, collector: Collector, video: bytes
) -> None:
    answer = traced.post("/detect", content=video, headers=NDJSON | {"X-Request-ID": "mine"})
    assert answer.status_code == 200
    span = collector.named("POST /detect")
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/detect",
        "http.response.status_code": 200,
        "selsa.request_id": "mine",
    } | ({"selsa.frames": 12} if "selsa.frames" in attributes(span) else {})
    children = {each.name: each for each in collector.spans if each.parent_span_id == span.span_id}
    assert {"decode", "frame_engine", "sequence_engine", "first_record"} <= set(children)
    for child in children.values():
        assert child.trace_id == span.trace_id
        assert span.start_time_unix_nano <= child.start_time_unix_nano <= child.end_time_unix_nano
    assert children["first_record"].end_time_unix_nano <= span.end_time_unix_nano
    assert not attributes(children["first_record"])["selsa.total"]
    assert abs(span.start_time_unix_nano / 1e9 - time.time()) < 60
    assert collector.resource["service.name"] == "selsa"


def test_a_traceparent_of_the_client_is_continued(
    traced: TestClient, collector: Collector, video: bytes
) -> None:
    parent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=text-of-the-client"}
    traced.post("/detect", content=video, headers=parent)
    span = collector.named("POST /detect")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.trace_state == ""


@pytest.mark.parametrize("given", ["", "00-nothing", f"00-{'0' * 32}-{PARENT}-01", "x" * 5000])
def test_an_invalid_traceparent_starts_a_new_trace(
    traced: TestClient, collector: Collector, given: str
) -> None:
    assert traced.get("/model", headers={"traceparent": given}).status_code == 200
    assert collector.named("GET /model").parent_span_id == b""


def test_no_span_contains_text_of_the_client(traced: TestClient, collector: Collector) -> None:
    wrong = {"X-Request-ID": "<script>", "User-Agent": "<script>"}
    assert traced.get("/<script>?a=<script>", headers=wrong).status_code == 404
    assert traced.request("<script>", "/detect").status_code == 405
    collector.named("_OTHER /detect")
    span = collector.named("GET unmatched")
    assert attributes(span)["selsa.code"] == "not_found"
    assert b"script" not in b"".join(each.SerializeToString() for each in collector.spans)


def test_a_refused_request_is_not_an_error_span(traced: TestClient, collector: Collector) -> None:
    traced.post("/detect", content=b"no video")
    span = collector.named("POST /detect")
    assert attributes(span)["selsa.code"] == "not_a_video"
    assert span.status.code == 0


def test_probes_are_not_traced(traced: TestClient, collector: Collector) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/model"):
        traced.get(path)
    collector.named("GET /model")
    assert {span.name for span in collector.spans} == {"GET /model"}


def test_without_a_collector_no_request_waits_for_it(
    soon: None, settings: ServerSettings, video: bytes
) -> None:
    settings = settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:1"})
    with TestClient(build_app(fake_pipeline(FakeEngines()), settings, fork_server=FORK_SERVER)) as client:
        # A request that waited for the exporter, which tries again for seconds, would take minutes here.
        started = time.monotonic()
        for _ in range(50):
            assert client.get("/model").status_code == 200
        assert client.post("/detect", content=video).status_code == 200
        assert time.monotonic() - started < 30


def test_sdk_and_exporter_are_imported_only_with_an_endpoint() -> None:
    ours = ("opentelemetry.sdk", "opentelemetry.exporter")
    code = f"import sys, selsa_server.api.app; sys.exit(any(n.startswith({ours}) for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_endpoint_without_the_extra_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    code = "from selsa_server.telemetry.tracing import require_tracing; require_tracing()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert "pip install 'selsa[server,tracing]'" in done.stderr


def test_selsa_otlp_endpoint_overrides_the_standard_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServerSettings().otlp_endpoint is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert ServerSettings().otlp_endpoint == "http://collector:4318"
    monkeypatch.setenv("SELSA_OTLP_ENDPOINT", "https://other:4318/prefix")
    assert ServerSettings().otlp_endpoint == "https://other:4318/prefix"


@pytest.mark.parametrize(
    "text", ["collector:4318", "ftp://x", "http://user:password@collector", "http://a b"]
)
def test_an_endpoint_without_an_address_or_with_a_password_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="otlp_endpoint"):
        ServerSettings(otlp_endpoint=text)

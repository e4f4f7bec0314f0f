"""Spans of requests for OpenTelemetry, sent over OTLP/HTTP; needs the tracing extra.

A thread sends spans from a bounded queue: a slow or missing collector costs spans and nothing else.
Attributes come from fixed lists, route templates and validated values, never from text of a client.
OpenTelemetry's ASGI instrumentation is not used: it records path, query, user agent and `tracestate`.
"""

import time
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from selsa_server.run_context import RunContext
from selsa_server.schema.detect import NDJSON
from selsa_server.telemetry.metrics import METHODS

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

# Probes ask for these every few seconds.
UNTRACED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
MISSING: Final = (
    "otlp_endpoint is set, and tracing needs the tracing extra: pip install 'selsa[server,tracing]'"
)


def require_tracing() -> None:
    """Check that the tracing extra is installed.

    Raises:
        ImportError: it is not; the message is for the person at the command line.
    """
    try:
        for module in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"):
            import_module(module)
    except ImportError as error:
        raise ImportError(MISSING) from error


def build_tracing(endpoint: str) -> "TracerProvider":
    """The provider of spans that sends them to `endpoint` + /v1/traces.

    OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_TIMEOUT and so on
    work as in OpenTelemetry's SDK. Spans in the queue are sent when the process ends, within that timeout.

    Raises:
        ImportError: the tracing extra is not installed.
    """
    require_tracing()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.version": version("selsa")})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "selsa"}))
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class Tracing:
    """ASGI middleware: one span per HTTP request. Add it as the outermost one."""

    def __init__(self, app: ASGIApp, provider: "TracerProvider") -> None:
        self._app = app
        self._tracer = provider.get_tracer("selsa_server")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] in UNTRACED:
            await self._app(scope, receive, send)
            return
        request = _TracedRequest(self._tracer, scope)

        async def send_and_see(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.answered(message)
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        finally:
            request.ended()


class _TracedRequest:
    """The span of one request."""

    def __init__(self, tracer: "Tracer", scope: Scope) -> None:
        from opentelemetry.trace import SpanKind

        self._tracer = tracer
        self._scope = scope
        self._status = 0
        method = scope["method"]
        self._method = method if method in METHODS else "_OTHER"
        # Spans need wall-clock times; this module measures with `perf_counter`.
        self._wall = time.time_ns() - round(time.perf_counter() * 1e9)
        self._started = time.perf_counter()
        self._span: Span = tracer.start_span(
            self._method,
            context=_parent(scope),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": self._method},
            start_time=self._nanoseconds(self._started),
        )

    def answered(self, start: Message) -> None:
        """The response begins."""
        self._status = start["status"]
        if Headers(raw=start["headers"]).get("content-type", "").startswith(NDJSON):
            # The response of a stream starts with its first records.
            self._part("first_record", self._started, time.perf_counter())

    def ended(self) -> None:
        """The response is complete, or was abandoned."""
        from opentelemetry.trace import StatusCode

        state, span = self._scope.get("state", {}), self._span
        run = state.get("run")
        if isinstance(run, RunContext):
            for part, seconds in run.clock.parts.items():
                self._part(part, run.clock.started, run.clock.started + seconds, total=True)
        route = getattr(self._scope.get("route"), "path", "unmatched")
        span.update_name(f"{self._method} {route}")
        attributes: dict[str, Any] = {
            "http.route": route,
            "http.response.status_code": self._status or None,
            "selsa.request_id": state.get("request_id"),
            "selsa.code": state.get("code"),
            "selsa.frames": state.get("frames"),
        }
        span.set_attributes({name: value for name, value in attributes.items() if value is not None})
        if self._status >= 500 or not self._status:
            span.set_status(StatusCode.ERROR)
        span.end()

    def _part(self, name: str, started: float, ended: float, *, total: bool = False) -> None:
        """A child span that has ended; `total`: a sum of pieces, shown from the start of detection."""
        from opentelemetry.trace import set_span_in_context

        child = self._tracer.start_span(
            name,
            context=set_span_in_context(self._span),
            attributes={"selsa.total": total},
            start_time=self._nanoseconds(started),
        )
        child.end(self._nanoseconds(ended))

    def _nanoseconds(self, moment: float) -> int:
        return self._wall + round(moment * 1e9)


def _parent(scope: Scope) -> "Context":
    """Of the span in the `traceparent` header, if it has the form that W3C gives it."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    # Without `tracestate`, because it is text of the client.
    given = Headers(scope=scope).get("traceparent", "")
    return TraceContextTextMapPropagator().extract({"traceparent": given})

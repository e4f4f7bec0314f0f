#!/bin/sh
# OpenTelemetry's ASGI middleware makes a span for every chunk of a streamed response.
#
# Ground: serving
# Versions: opentelemetry-instrumentation-asgi 0.66b2, opentelemetry-sdk 1.45.2, starlette 1.10.0.
# Behaviour: each call of receive and send is a span of its own. A stream of a line per frame makes a span per
# frame. exclude_spans=["send", "receive"] leaves the span of the request.
# Seen, 50 chunks: 55 spans; with exclude_spans: 1.
# A good guess is wrong because instrumenting an application is described as a span per request, and tests
# with small responses show three or four.
# Product: the server makes its own spans, one per request and one per step (server/selsa_server/telemetry,
# tests/server/telemetry/test_tracing.py::test_a_request_is_a_span_with_its_parts_as_children).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    opentelemetry-instrumentation-asgi==0.66b2 opentelemetry-sdk==1.45.2 starlette==1.10.0 httpx==0.28.1
"$env/bin/python" - <<'PY'
import warnings

warnings.simplefilter("ignore")
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient


async def stream(request):
    async def lines():
        for number in range(50):
            yield f"{number}\n"

    return StreamingResponse(lines())


found = {}
for name, more in (("as it is", {}), ("exclude_spans", {"exclude_spans": ["send", "receive"]})):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = OpenTelemetryMiddleware(Starlette(routes=[Route("/", stream)]), tracer_provider=provider, **more)
    assert len(TestClient(app).get("/").text.split()) == 50
    found[name] = len(exporter.get_finished_spans())
    print(f"{name}: {found[name]} spans")
assert found["as it is"] >= 50
assert found["exclude_spans"] == 1
PY

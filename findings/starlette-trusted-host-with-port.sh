#!/bin/sh
# A host with a port in Starlette's TrustedHostMiddleware matches nothing, and an IPv6 host needs its
# brackets.
#
# Ground: serving
# Versions: starlette 1.10.0.
# Behaviour: the port is cut off the request's Host header and not off the allowed names, so "localhost:8000"
# refuses localhost:8000. IPv6 is allowed as "[::1]"; "::1" refuses it.
# Seen, status of a request: allowed localhost:8000: 400; localhost: 200; ::1: 400; [::1]: 200.
# A good guess is wrong because the browser's Host header has the port in it, and nothing refuses the name at
# start.
# Product: the server has no list of hosts of its own; docs/operations.md names these forms for those who put
# the application behind the middleware.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check starlette==1.10.0 httpx==0.28.1
"$env/bin/python" - <<'PY'
import warnings

warnings.simplefilter("ignore")
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient


async def page(request):
    return PlainTextResponse("page")


found = {}
for allowed, host in (
    ("localhost:8000", "localhost:8000"), ("localhost", "localhost:8000"), ("::1", "[::1]:8000"), ("[::1]", "[::1]:8000"),
):
    app = Starlette(routes=[Route("/", page)], middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[allowed])])
    found[allowed] = TestClient(app).get("/", headers={"host": host}).status_code
    print(f"allowed {allowed}, request to {host}: {found[allowed]}")
assert found == {"localhost:8000": 400, "localhost": 200, "::1": 400, "[::1]": 200}
PY

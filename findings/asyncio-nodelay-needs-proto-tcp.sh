#!/bin/sh
# A listening socket from socket.create_server makes uvicorn's responses wait for the client's
# acknowledgement.
#
# Ground: serving
# Versions: Python 3.11 asyncio, uvicorn 0.54.0, Linux.
# Behaviour: asyncio sets TCP_NODELAY only if socket.proto is IPPROTO_TCP. socket.create_server() and
# socket.socket() leave proto at 0, and accepted sockets inherit that. uvicorn writes head and body of a
# response apart; without TCP_NODELAY the body waits for the acknowledgement of the head, 40 ms on Linux. A
# socket made again from its file descriptor, or by asyncio from a host name, has proto 6.
# Seen on a kept connection, per request: proto 0: 40 to 44 ms; proto 6: below 2 ms.
# A good guess is wrong because the sockets are of the same kind to the kernel, and asyncio is documented to
# set TCP_NODELAY by default.
# Product: the listening socket is made again from its descriptor (listen in
# server/selsa_server/api/serving.py,
# tests/server/api/test_listening.py::test_answers_do_not_wait_for_acknowledgements).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check uvicorn==0.54.0
"$env/bin/python" - <<'PY'
import asyncio
import http.client
import platform
import socket
import statistics
import sys
import threading
import time

import uvicorn

if platform.system() != "Linux":
    print("skipped: delayed acknowledgements differ on", platform.system())
    sys.exit(77)


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def measured(listener):
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", http="h11"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    connection = http.client.HTTPConnection(*listener.getsockname())
    taken = []
    for _ in range(30):
        start = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        taken.append(1000 * (time.perf_counter() - start))
    connection.close()
    server.should_exit = True
    thread.join()
    return statistics.median(taken)


plain = socket.create_server(("127.0.0.1", 0))
again = socket.socket(fileno=socket.create_server(("127.0.0.1", 0)).detach())
protos = plain.proto, again.proto
found = measured(plain), measured(again)
print(f"proto {protos[0]}: {found[0]:.1f} ms, proto {protos[1]}: {found[1]:.1f} ms")
assert protos == (0, socket.IPPROTO_TCP)
assert found[0] > 30
assert found[1] < 20
PY

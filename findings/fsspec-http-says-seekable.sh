#!/bin/sh
# A file that fsspec streams over HTTP says it is seekable and raises on seek.
#
# Ground: serving
# Versions: fsspec 2026.9.0, a server that gives no length and no ranges.
# Behaviour: without a Content-Length fsspec opens a stream instead of a file with ranges. Its seekable() is
# True, as io's files have it; seek() raises ValueError, to its current place too.
# Seen: seekable() True; seek(0): "Cannot seek streaming HTTP file".
# A good guess is wrong because libraries that read a video ask seekable() and choose their demuxer's way by
# the answer.
# Product: a video from elsewhere is copied to a file before it is opened
# (server/selsa_server/batch/worker.py,
# tests/cluster/test_batch_files.py::test_remote_addresses_are_read_too).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check fsspec==2026.9.0 aiohttp==3.14.5
"$env/bin/python" - <<'PY'
import http.server
import threading

import fsspec


class Streaming(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(bytes(10_000))

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Streaming)
threading.Thread(target=server.serve_forever, daemon=True).start()
with fsspec.open(f"http://127.0.0.1:{server.server_port}/film", "rb") as file:
    seekable = file.seekable()
    file.read(4)
    try:
        file.seek(0)
        said = "works"
    except ValueError as error:
        said = str(error)
print("seekable():", seekable, "; seek(0):", said)
assert seekable
assert said == "Cannot seek streaming HTTP file"
PY

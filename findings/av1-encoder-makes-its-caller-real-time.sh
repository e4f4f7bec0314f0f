#!/bin/sh
# Run by root, the AV1 encoder of PyAV's wheels turns the thread that encodes into a real-time thread, for good.
#
# Ground: containers
# Versions: av 18.1.0 (SVT-AV1 4.1.0 in its Linux wheel), numpy 2.4.6.
# Behaviour: the first frame given to libsvtav1 changes the calling thread from SCHED_OTHER to SCHED_FIFO,
# priority 99. It stays so after the encoder is closed, and threads and processes made later inherit it.
# libx264 changes nothing, and neither does libsvtav1 for a user without the right to real-time priorities.
# Seen: "libx264: SCHED_OTHER 0", "libsvtav1: SCHED_FIFO 99", "a child process: SCHED_FIFO 99".
# A good guess is wrong because a codec library is expected to set the priority of its own threads at most.
# In a container, where root is usual, one such process that computes keeps all others off its core: a browser
# beside it stood still and the load rose to 100, hours away from the line that encoded.
# Product: nothing in it encodes AV1. Its tests do: `same_priority` in tests/server/media.py restores the
# thread, and a fixture in tests/conftest.py fails the test that leaves one changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export SVT_LOG=0
[ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] || { echo "only root on Linux sees this"; exit 77; }
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$env/bin/python" - <<'PY'
import os
import subprocess
import sys

import av
import numpy as np

NAMES = {os.SCHED_OTHER: "SCHED_OTHER", os.SCHED_FIFO: "SCHED_FIFO"}
SHOW = "import os; print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)"


def scheduling() -> tuple[str, int]:
    return NAMES[os.sched_getscheduler(0)], os.sched_getparam(0).sched_priority


def encode(codec: str) -> tuple[str, int]:
    with av.open(f"{codec}.mp4", "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return scheduling()


assert scheduling() == ("SCHED_OTHER", 0), "start this as an ordinary process"
found = {codec: encode(codec) for codec in ("libx264", "libsvtav1")}
child = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True).stdout.split()
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
found["a child process"] = NAMES[int(child[0])], int(child[1])
for name, (policy, priority) in found.items():
    print(f"{name}: {policy} {priority}")
assert found["libx264"] == ("SCHED_OTHER", 0)
assert found["libsvtav1"] == found["a child process"] == ("SCHED_FIFO", 99)
PY

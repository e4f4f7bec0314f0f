#!/bin/sh
# An AVI file that was written to a pipe says it has 1,073,741,824 frames, and its duration is a guess.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2).
# Behaviour: AVI's header stands in front of the frames, so the muxer writes a count into it and puts the right
# one there at the end. If it cannot go back, 1 << 30 remains. The reader passes that on as the stream's count,
# and its duration is then a frame for every four bytes of the file.
# Seen: 20 frames, 0.8 s. Written to a file: stream.frames is 20, the duration 0.8 s. Written to a pipe:
# 1073741824 frames and 34.32 s, while 20 frames decode, the last one at 0.76 s, without an error. Matroska
# through the same pipe: 0 frames and no duration.
# A good guess is wrong because PyAV documents 0 for a count that is not known, so "if stream.frames" is the
# usual test. A limit on the number of frames then refuses a video of a second, and a reader that compares the
# count with the frames that came takes a whole file for one that was cut off.
# Product: a count of 1 << 30 or more is none (server/selsa_bundle/video/damage.py,
# tests/server/video/test_gaps.py::test_a_file_that_was_written_to_a_pipe_is_whole).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$env/bin/python" - <<'PY'
import io
from fractions import Fraction

import av
import numpy as np


class Pipe(io.RawIOBase):
    """A target that takes bytes in order only."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.data += data
        return len(data)


def write(target, form):
    with av.open(target, "w", format=form) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target


seen, guess = {}, {}
for name, target, form in (
    ("avi, file", io.BytesIO(), "avi"),
    ("avi, pipe", Pipe(), "avi"),
    ("matroska, pipe", Pipe(), "matroska"),
):
    write(target, form)
    data = target.data if isinstance(target, Pipe) else target.getvalue()
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        duration = container.duration and container.duration / av.time_base
        frames = list(container.decode(stream))
        seen[name] = stream.frames, duration, len(frames), round(frames[-1].time, 3)
    print(f"{name}, {len(data)} bytes: {stream.frames} frames, {duration} s; decoded: {len(frames)} frames")
    guess[name] = len(data) // 4 / 25
assert seen["avi, file"] == (20, 0.8, 20, 0.76)
assert seen["avi, pipe"] == (1 << 30, guess["avi, pipe"], 20, 0.76)
assert seen["matroska, pipe"] == (0, None, 20, 0.76)
PY

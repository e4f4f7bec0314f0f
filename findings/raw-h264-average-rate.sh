#!/bin/sh
# A raw H.264 or HEVC file has an average_rate of 25, whatever rate it was coded with.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2), libx264 and libx265 of its wheel.
# Behaviour: the demuxer of raw streams assumes 25 frames a second, and average_rate says so. The coded rate
# is in guessed_rate, in codec_context.framerate and in the packets' durations; no packet and no frame has a
# time stamp.
# Seen, coded at 50: average_rate 25, guessed_rate 50, codec_context.framerate 50, packet duration 1/50 s, pts
# None.
# A good guess is wrong because average_rate is right in every other container, and 25 is a plausible number.
# Product: the coded rate is asked for first (codec_rate in server/selsa_bundle/video/delivery.py,
# tests/server/video/test_film_kinds.py::test_an_elementary_stream_has_the_rate_that_it_says).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$env/bin/python" - <<'PY'
from fractions import Fraction

import av
import numpy as np

for name, codec in (("raw.h264", "libx264"), ("raw.hevc", "libx265")):
    with av.open(name, "w") as container:
        stream = container.add_stream(codec, rate=50)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 50)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(name) as container:
        stream = container.streams.video[0]
        rates = stream.average_rate, stream.guessed_rate, stream.codec_context.framerate
        packets = [packet for packet in container.demux(stream) if packet.size]
    duration = packets[0].duration * packets[0].time_base
    print(name, "average, guessed, codec:", *rates, "duration", duration, "pts", {p.pts for p in packets})
    assert rates == (25, 50, 50)
    assert duration == Fraction(1, 50)
    assert {packet.pts for packet in packets} == {None}
PY

#!/bin/sh
# H.264 copied from MP4 into AVI has twenty times the frames in its header, and its frames come with times out
# of order.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2).
# Behaviour: AVI has no time stamps, only a rate and a place for every frame. Copied without decoding, the
# muxer takes a finer rate than the video's and fills the places between with empty ones; stream.frames and
# average_rate are the header's. FFmpeg makes up time stamps from the places, and with B-frames those are not
# the times of display: the decoder gives the pictures in order, with pts that go back and forth.
# Seen: 30 frames at 30 a second, two B-frames: the copy says 600 frames at 600 a second; 30 frames come out,
# in order by their brightness, with steps of -0.067 to 0.133 s.
# A good guess is wrong because an AVI's frame count is exact in files that a camera writes, so a reader takes
# fewer packets than that for a file that was cut off; and sorting frames by pts, right in every other
# container, breaks the order here.
# Product: AVI frames are taken in the decoder's order and timed by their places
# (server/selsa_bundle/video/delivery.py,
# tests/server/video/test_film_kinds.py::test_h264_in_avi_is_in_order_also_when_copied_from_mp4).
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
from av.bitstream import BitStreamFilterContext

with av.open("film.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=30, options={"bf": "2", "b-adapt": "0"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for i in range(30):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * i, np.uint8), format="rgb24")
        frame.pts, frame.time_base = i, Fraction(1, 30)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
with av.open("film.mp4") as source, av.open("copy.avi", "w") as target:
    stream = source.streams.video[0]
    copy = target.add_stream_from_template(stream)
    to_start_codes = BitStreamFilterContext("h264_mp4toannexb", stream)
    for packet in source.demux(stream):
        for changed in to_start_codes.filter(packet if packet.size else None):
            changed.stream = copy
            target.mux(changed)
with av.open("copy.avi") as container:
    stream = container.streams.video[0]
    declared, rate = stream.frames, stream.average_rate
    frames = list(container.decode(stream))
    steps = {b.time - a.time for a, b in zip(frames, frames[1:])}
    brightness = [frame.to_ndarray(format="gray").mean() for frame in frames]
print(f"header: {declared} frames at {rate}; decoded: {len(frames)}, {min(steps):.4f} to {max(steps):.4f} s apart")
assert len(frames) == 30
assert declared >= 60 and rate >= 60
assert brightness == sorted(brightness), "the pictures are in order"
assert min(steps) < 0, "their times are not"
PY

#!/bin/sh
# Two MPEG-TS files joined with cat have a packet that is_corrupt, and every frame decodes.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2).
# Behaviour: the second file's continuity counters start anew, so the demuxer marks the packet that it was
# putting together at the join. Its bytes are whole. Time stamps start anew as well.
# Seen: 30 and 30 frames: one packet of 60 has is_corrupt, at the join; 60 frames decode, none of them
# is_corrupt; pts go from 87000 to 0.
# A good guess is wrong because is_corrupt is the demuxer's word for damage, and joining TS with cat is the
# documented way to join it.
# Product: the flag alone is no damage (server/selsa_bundle/video/delivery.py,
# tests/server/video/test_film_kinds.py::test_joined_transport_streams_keep_every_frame_in_order).
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

for name in ("a.ts", "b.ts"):
    with av.open(name, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(30):
            picture = np.full((48, 64, 3), 30, np.uint8)
            picture[:, 2 * i : 2 * i + 6] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
open("joined.ts", "wb").write(open("a.ts", "rb").read() + open("b.ts", "rb").read())
with av.open("joined.ts") as container:
    packets = [packet for packet in container.demux(video=0) if packet.size]
with av.open("joined.ts") as container:
    frames = list(container.decode(video=0))
corrupt = [i for i, packet in enumerate(packets) if packet.is_corrupt]
print("packets", len(packets), "corrupt", corrupt, "pts", [packet.pts for packet in packets[28:32]])
print("frames", len(frames), "corrupt", sum(frame.is_corrupt for frame in frames))
assert len(packets) == len(frames) == 60
assert len(corrupt) == 1 and corrupt[0] in (28, 29)
assert not any(frame.is_corrupt for frame in frames)
assert packets[30].pts < packets[29].pts
PY

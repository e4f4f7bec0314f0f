#!/bin/sh
# After a seek in Matroska the key frame's packet has no dts, so "if packet.dts is None: continue" loses it.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2), H.264 with B-frames.
# Behaviour: Matroska stores no decoding times; the demuxer works them out and needs as many packets as frames
# are reordered. At the start and after every seek the first packets have dts None, the key frame first. The
# same file in MP4 has a dts everywhere.
# Seen: after the seek, packets as (key frame, dts): (True, None), (False, None), (False, a number). A copy
# that skips packets without dts starts without its key frame: 20 of 30 frames decode.
# A good guess is wrong because the end of a stream is a packet without dts too, and skipping those is the
# usual way to leave that one out.
# Product: the empty packet at the end is told by its size (server/selsa_server/video/cursor.py,
# tests/server/video/test_decode.py::test_frames_reached_by_jumping_are_those_of_decoding_in_order).
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

av.logging.set_level(av.logging.PANIC)
GOP = "keyint=10:min-keyint=10:scenecut=0:bframes=3:b-adapt=0"
decoded = {}
for ending in ("mp4", "mkv"):
    with av.open(f"film.{ending}", "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"x264-params": GOP})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(40):
            picture = np.full((48, 64, 3), 30, np.uint8)
            picture[:, i : i + 8] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for rule in ("dts", "size"):
        with av.open(f"film.{ending}") as source, av.open("copy.mkv", "w") as target:
            stream = source.streams.video[0]
            copy = target.add_stream_from_template(stream)
            source.seek(int(0.4 / stream.time_base), stream=stream)
            seen = []
            for packet in source.demux(stream):
                seen.append((packet.is_keyframe, packet.dts))
                if packet.size if rule == "size" else packet.dts is not None:
                    packet.stream = copy
                    target.mux(packet)
        with av.open("copy.mkv") as container:
            decoded[ending, rule] = len(list(container.decode(video=0)))
        print(f"{ending}, packets kept by {rule}: first {seen[:3]}; {decoded[ending, rule]} frames decode")
    assert seen[0][0] and (seen[0][1] is None) == (ending == "mkv")
assert decoded == {("mp4", "dts"): 30, ("mp4", "size"): 30, ("mkv", "dts"): 20, ("mkv", "size"): 30}
PY

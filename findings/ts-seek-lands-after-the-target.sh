#!/bin/sh
# A seek in MPEG-TS lands past the key frame before the target, and the first frame comes after the target.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2), H.264 in MPEG-TS, key frames every 50.
# Behaviour: container.seek(pts, stream=stream) is to go to the key frame at or before pts. MPEG-TS has no
# index; the demuxer searches time stamps and stops near the target, between key frames. The decoder then
# waits for the next key frame. In Matroska and MP4 the same call is right.
# Seen, wanted frame 60: MP4 and Matroska start at frame 50, TS at frame 100, without an error. Near the end
# nothing comes at all.
# A good guess is wrong because backward=True is the default and any_frame=False too, and the call is right on
# every file that has an index.
# Product: a jump that lands late is noticed, and the video is read from its start
# (server/selsa_server/video/cursor.py,
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
GOP = "keyint=50:min-keyint=50:scenecut=0:bframes=2:b-adapt=0"
WANTED = 60
for ending, kind, first in (("mp4", "mp4", 50), ("mkv", "matroska", 50), ("ts", "mpegts", 100)):
    with av.open(f"film.{ending}", "w", format=kind) as container:
        stream = container.add_stream("libx264", rate=30, options={"x264-params": GOP})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(200):
            picture = np.full((48, 64, 3), 30, np.uint8)
            picture[:, i % 56 : i % 56 + 8] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(f"film.{ending}") as container:
        times = [frame.pts for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        container.seek(times[WANTED], stream=stream, backward=True, any_frame=False)
        found = times.index(next(container.decode(stream)).pts)
    print(f"{ending}: wanted {WANTED}, the first frame after the seek is {found}")
    assert found == first
PY

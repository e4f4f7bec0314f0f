#!/bin/sh
# PyAV converts a frame that is flagged interlaced to RGB field by field, so equal YUV gives other RGB.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2), libx264 of its wheel, yuv420p.
# Behaviour: the scaler takes the flag from the frame and interpolates chroma between lines of one field.
# Older FFmpeg and the ffmpeg command convert the frame as a whole.
# Seen: the same 64x64 picture coded without loss, once with the flag: the decoded planes are equal to the
# byte, the RGB of to_ndarray is not (up to 255 levels apart at a sharp edge of colour).
# A good guess is wrong because the flag says how the picture was scanned, and many recorders set it on
# progressive pictures.
# Product: the flag is taken off before a picture is converted (server/selsa_bundle/picture.py,
# tests/server/video/test_every_frame.py).
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
luma = np.full((64, 64), 120, np.uint8)
chroma = np.where(np.arange(32)[:, None] // 3 % 2, 40, 220).astype(np.uint8).repeat(32, 1)
planes = np.concatenate([luma.ravel(), chroma.ravel(), chroma[::-1].ravel()]).reshape(96, 64)
found = {}
for name, parameters in (("progressive", "qp=0"), ("interlaced", "qp=0:interlaced=1:tff=1")):
    with av.open(f"{name}.mkv", "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"x264-params": parameters})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(f"{name}.mkv") as container:
        frame = next(container.decode(video=0))
        found[name] = frame.interlaced_frame, frame.to_ndarray(), frame.to_ndarray(format="rgb24").astype(int)
difference = np.abs(found["interlaced"][2] - found["progressive"][2])
print("flags", found["progressive"][0], found["interlaced"][0], "RGB differs by up to", difference.max())
assert (found["progressive"][0], found["interlaced"][0]) == (False, True)
assert np.array_equal(found["progressive"][1], found["interlaced"][1]), "the planes are the same"
assert difference.max() > 40
PY

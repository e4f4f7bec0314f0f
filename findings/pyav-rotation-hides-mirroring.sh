#!/bin/sh
# PyAV's frame.rotation is an angle only, so a mirrored video looks turned, or not changed at all.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2), MP4 with the display matrix in the track header.
# Behaviour: an MP4 may be turned and mirrored. frame.rotation gives the angle of the matrix,
# counter-clockwise; mirroring is lost. The whole matrix is in frame.side_data as DISPLAYMATRIX (nine int32,
# 16.16 fixed point, last column 2.30).
# Seen: mirrored left to right: -180. Mirrored top to bottom: 0. Transposed: -90, as a quarter turn clockwise.
# A half turn: -180, the same as the first.
# A good guess is wrong because the field is all that most readers look at, and a front camera writes mirrored
# files.
# Product: the whole matrix is read (server/selsa_bundle/picture.py,
# tests/server/video/test_orientation.py::test_what_is_drawn_on_a_mirrored_film_is_where_its_boxes_are).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$env/bin/python" - <<'PY'
import struct
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type

W, H = 64, 48
with av.open("plain.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=30)
    stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
    frame = av.VideoFrame.from_ndarray(np.zeros((H, W, 3), np.uint8), format="rgb24")
    frame.pts, frame.time_base = 0, Fraction(1, 30)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def with_matrix(*rows):
    data = bytearray(open("plain.mp4", "rb").read())
    start = data.index(b"tkhd") + 4 + 40  # version 0: flags, times, id, duration, layer, volume
    assert struct.unpack_from(">9i", data, start) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    units = (65536, 65536, 1 << 30) * 3
    struct.pack_into(">9i", data, start, *(x * unit for x, unit in zip(rows, units)))
    open("turned.mp4", "wb").write(data)
    with av.open("turned.mp4") as container:
        frame = next(container.decode(video=0))
        matrix = np.frombuffer(bytes(frame.side_data.get(Type.DISPLAYMATRIX)), np.int32).reshape(3, 3)
        return frame.rotation, (matrix[:2, :2] // 65536).tolist()


CASES = {
    "half turn": ((-1, 0, 0, 0, -1, 0, W, H, 1), -180, [[-1, 0], [0, -1]]),
    "mirrored left to right": ((-1, 0, 0, 0, 1, 0, W, 0, 1), -180, [[-1, 0], [0, 1]]),
    "mirrored top to bottom": ((1, 0, 0, 0, -1, 0, 0, H, 1), 0, [[1, 0], [0, -1]]),
    "quarter turn clockwise": ((0, 1, 0, -1, 0, 0, H, 0, 1), -90, [[0, 1], [-1, 0]]),
    "transposed": ((0, 1, 0, 1, 0, 0, 0, 0, 1), -90, [[0, 1], [1, 0]]),
}
for name, (rows, rotation, matrix) in CASES.items():
    found = with_matrix(*rows)
    print(f"{name}: rotation {found[0]}, matrix {found[1]}")
    assert found == (rotation, matrix), name
PY

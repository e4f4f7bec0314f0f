#!/bin/sh
# A raw HEVC file followed by a part that was cut at an open GOP loses frames in one decoder, silently.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2), libx265 and libx264 of its wheel.
# Behaviour: the second part begins with a CRA picture. In the middle of a stream the decoder does not treat
# it as a start: the order counts of the new part collide with those of the first, and frames are dropped
# without an error or is_corrupt. H.264 joined in the same way gives one frame too many, a leading B-frame
# that is decoded from the wrong pictures.
# Seen: 40 frames and a cut of 30: HEVC 61, H.264 71, none of them corrupt. Each part alone decodes to 40 and
# 30.
# A good guess is wrong because both parts decode alone, and raw streams are joined by concatenation; with a
# part that begins with an IDR picture nothing is lost (80 of 80).
# Product: the decoder is drained and flushed at a joint (server/selsa_bundle/video/delivery.py,
# tests/server/video/test_film_kinds.py::test_joined_segments_that_begin_at_open_groups_of_pictures_lose_no_frame).
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
GOP = "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:b-adapt=0"
CODECS = {"hevc": ("libx265", {"x265-params": GOP + ":log-level=none"}), "h264": ("libx264", {"x264-params": GOP})}


def counted(ending, data):
    with open(f"joined.{ending}", "wb") as file:
        file.write(data)
    with av.open(f"joined.{ending}") as container:
        frames = list(container.decode(video=0))
    return len(frames), sum(frame.is_corrupt for frame in frames)


for ending, (codec, options) in CODECS.items():
    with av.open(f"film.{ending}", "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(40):
            picture = np.full((48, 64, 3), 30, np.uint8)
            picture[:, i : i + 8] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with open(f"film.{ending}", "rb") as file:
        whole = file.read()
    with av.open(f"film.{ending}") as container:
        packets = [(packet.is_keyframe, bytes(packet)) for packet in container.demux(video=0) if packet.size]
    second = [i for i, (key, _) in enumerate(packets) if key][1]
    cut = b"".join(data for _, data in packets[second:])
    parts = {"whole": whole, "cut": cut, "whole, whole": whole + whole, "whole, cut": whole + cut}
    found = {name: counted(ending, data) for name, data in parts.items()}
    print(ending, found)
    assert found["whole"] == (40, 0) and found["cut"] == (30, 0) and found["whole, whole"] == (80, 0)
    assert found["whole, cut"] == ((61, 0) if ending == "hevc" else (71, 0))
PY

#!/bin/sh
# torchcodec numbers frames by their packets in order of time, also in seek_mode="exact": the first frames or
# a whole second film cannot be reached.
#
# Ground: containers
# Versions: torchcodec 0.17.0 on the CPU, torch 2.14.1; files written by av 18.1.0.
# Behaviour: exact mode reads all packets and sorts them by time. In MPEG-TS with B-frames, index 0 is the
# first frame of the second key frame, and the last indices raise. Of a Matroska file cut at an open GOP, the
# length counts a packet that gives no frame. Of two MPEG-TS files joined with cat, whose clock starts anew,
# an index gives frames of the first one only, at times where both have one; going through the decoder gives
# both.
# Seen: TS of 40 frames, key frames every 10: index 0 is at 0.40 s instead of 0.07 s. Cut: 31 frames where 30
# can be decoded, and going through them raises. Joined, 30 dark and then 30 bright frames: index 40 is at
# 0.67 s and dark.
# A good guess is wrong because exact mode is described as accurate, and it is in MP4 and in Matroska that was
# not cut.
# Product: frames are decoded in order with PyAV and numbered as the decoder gives them
# (server/selsa_bundle/video/delivery.py, tests/server/video/test_film_kinds.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    av==18.1.0 numpy==2.4.6 timm==1.0.31 torch==2.14.1 torchcodec==0.17.0 torchvision==0.29.1
"$env/bin/python" - <<'PY'
from fractions import Fraction

import av
import numpy as np

try:
    from torchcodec.decoders import VideoDecoder
except (ImportError, OSError, RuntimeError) as error:
    import sys

    print("skipped: torchcodec finds no FFmpeg here:", str(error).splitlines()[0])
    sys.exit(77)
av.logging.set_level(av.logging.PANIC)
GOP = "keyint=10:min-keyint=10:scenecut=0:b-adapt=0"


def write(name, kind, count, gop, level=None):
    with av.open(name, "w", format=kind) as container:
        stream = container.add_stream("libx264", rate=30, options={"x264-params": gop})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(count):
            picture = np.full((48, 64, 3), 5 * i if level is None else level, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def decoded(name):
    with av.open(name) as container:
        return [frame.time for frame in container.decode(video=0)]


write("b.ts", "mpegts", 40, GOP + ":bframes=2")
decoder, times = VideoDecoder("b.ts", seek_mode="exact"), decoded("b.ts")
first = decoder.get_frame_at(0).pts_seconds
try:
    decoder.get_frame_at(len(decoder) - 1)
    last = "decodes"
except RuntimeError:
    last = "raises"
print(f"TS: {len(decoder)} frames; index 0 at {first:.2f} s, the film starts at {times[0]:.2f} s; the last index {last}")
assert len(decoder) == len(times) == 40
assert abs(first - times[10]) < 1e-3 and last == "raises"

write("film.mkv", "matroska", 40, GOP + ":bframes=3:open-gop=1")
with av.open("film.mkv") as source, av.open("cut.mkv", "w") as target:
    stream = source.streams.video[0]
    copy = target.add_stream_from_template(stream)
    packets = [packet for packet in source.demux(stream) if packet.size]
    second = [i for i, packet in enumerate(packets) if packet.is_keyframe][1]
    for packet in packets[second:]:
        packet.stream = copy
        target.mux(packet)
decoder, times = VideoDecoder("cut.mkv", seek_mode="exact"), decoded("cut.mkv")
try:
    passed = sum(1 for _ in decoder)
except RuntimeError:
    passed = "raises"
print(f"cut: {len(times)} frames decode, torchcodec counts {len(decoder)}; going through them {passed}")
assert (len(times), len(decoder), passed) == (30, 31, "raises")

write("dark.ts", "mpegts", 30, GOP + ":bframes=0", 40)
write("bright.ts", "mpegts", 30, GOP + ":bframes=0", 200)
with open("joined.ts", "wb") as joined:
    for name in ("dark.ts", "bright.ts"):
        joined.write(open(name, "rb").read())
decoder = VideoDecoder("joined.ts", seek_mode="exact")
found = [(i, decoder.get_frame_at(i)) for i in (0, 20, 40, 59)]
seen = [(i, round(frame.pts_seconds, 2), "bright" if frame.data.float().mean() > 120 else "dark") for i, frame in found]
in_turn = ["bright" if frame.float().mean() > 120 else "dark" for frame in VideoDecoder("joined.ts", seek_mode="exact")]
print("joined, by index:", seen, "; in turn:", in_turn[0], "to", in_turn[-1])
assert in_turn == ["dark"] * 30 + ["bright"] * 30
assert {level for _, _, level in seen} == {"dark"}
assert abs(seen[2][1] - 20 / 30) < 0.04, "index 40 is at the time of frame 20"
PY

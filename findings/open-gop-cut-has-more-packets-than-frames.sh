#!/bin/sh
# A file cut at an open GOP has a packet more than frames, and only MP4 says which.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2), libx264 and libx265 of its wheel.
# Behaviour: with an open GOP, B-frames that are shown before a key frame are stored after it and need the GOP
# before. A copy that starts at that key frame keeps them. The decoder drops them without an error. In MP4 an
# edit list marks them (packet.is_discard); in Matroska and MPEG-TS nothing does.
# Seen, cut at the second of four key frames: 31 packets and 30 frames, in H.264 and HEVC; is_discard on 1
# packet in MP4, on 0 in Matroska and TS; is_corrupt nowhere.
# A good guess is wrong because the packet before the first key frame's time carries a good time stamp, so
# counting packets, as fast frame counts do, is one too many and shifts every index.
# Product: frames are numbered as the decoder gives them (server/selsa_bundle/video/packets.py,
# tests/server/video/test_film_kinds.py::test_what_a_decoder_skips_at_an_open_group_of_pictures_is_no_damage).
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
CODECS = {"libx264": {"x264-params": GOP}, "libx265": {"x265-params": GOP + ":log-level=none"}}
for codec, options in CODECS.items():
    for ending, kind in (("mp4", "mp4"), ("mkv", "matroska"), ("ts", "mpegts")):
        with av.open(f"film.{ending}", "w", format=kind) as container:
            stream = container.add_stream(codec, rate=30, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for i in range(40):
                picture = np.full((48, 64, 3), 30, np.uint8)
                picture[:, i : i + 8] = 220
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 30)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        with av.open(f"film.{ending}") as source, av.open(f"cut.{ending}", "w", format=kind) as target:
            stream = source.streams.video[0]
            copy = target.add_stream_from_template(stream)
            packets = [packet for packet in source.demux(stream) if packet.size]
            second = [i for i, packet in enumerate(packets) if packet.is_keyframe][1]
            for packet in packets[second:]:
                packet.stream = copy
                target.mux(packet)
        with av.open(f"cut.{ending}") as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        with av.open(f"cut.{ending}") as container:
            frames = list(container.decode(video=0))
        marked = sum(packet.is_discard for packet in packets)
        corrupt = sum(packet.is_corrupt for packet in packets) + sum(frame.is_corrupt for frame in frames)
        print(f"{codec} {ending}: {len(packets)} packets, {len(frames)} frames, discard {marked}, corrupt {corrupt}")
        assert (len(packets), len(frames), corrupt) == (31, 30, 0)
        assert marked == (1 if ending == "mp4" else 0)
PY

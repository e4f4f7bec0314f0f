#!/bin/sh
# With thread_type "AUTO", what does not decode raises at a later packet, so what cannot be decoded before the
# first key frame looks like damage behind it.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2), VP9.
# Behaviour: "AUTO" lets several threads decode a frame each. A call hands its packet to the next thread and
# returns the frame or the error of the thread whose turn it is; that one got its packet as many packets earlier
# as there are other threads. With one thread, or with "SLICE", which is PyAV's default, an error is that of the
# packet.
# Seen: a recording of a running VP9 stream: 4 packets that need frames before the recording, then the key frame,
# packet 4. With one thread, and with 4 threads and "SLICE", packets 0 to 3 raise InvalidDataError. With "AUTO"
# and 2 threads packets 1 to 4 do, with 4 threads packets 3 to 6. The same 20 frames come in all four cases.
# A good guess is wrong because frames that come late are known from B-frames and carry their own time; an error
# carries nothing. A reader that passes over errors until the key frame calls a whole recording damaged, and one
# that names the packet which failed names another one.
# Product: the server decodes with one thread (server/selsa_server/video/container.py). Training counts frames
# with all threads and, if any were lost, again with one (training/selsa_training/data/video_frames.py,
# tests/training/data/test_video_frames.py::test_a_recording_of_a_running_stream_is_whole).
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
with av.open("film.mkv", "w") as container:
    options = {"g": "10", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    stream = container.add_stream("libvpx-vp9", rate=25, options=options)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for i in range(30):
        picture = np.full((48, 64, 3), 30, np.uint8)
        picture[:, i : i + 8] = 220
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = i, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
with av.open("film.mkv") as source, av.open("recording.mkv", "w") as target:
    stream = source.streams.video[0]
    copy = target.add_stream_from_template(stream)
    for number, packet in enumerate(source.demux(stream)):
        if packet.size and number >= 6:
            packet.stream = copy
            target.mux(packet)
seen = {}
for kind, threads in (("NONE", 1), ("SLICE", 4), ("AUTO", 2), ("AUTO", 4)):
    with av.open("recording.mkv") as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = kind, threads
        keys, raised, frames = [], [], 0
        for number, packet in enumerate(container.demux(stream)):
            keys += [number] if packet.is_keyframe else []
            try:
                frames += len(packet.decode())
            except av.InvalidDataError:
                raised.append(number)
    assert keys == [4, 14] and frames == 20
    seen[kind, threads] = raised
    print(f"{kind}, {threads} threads: key frames are packets {keys}; raised at {raised}; {frames} frames")
assert seen["NONE", 1] == seen["SLICE", 4] == [0, 1, 2, 3]
assert seen["AUTO", 2] == [1, 2, 3, 4]
assert seen["AUTO", 4] == [3, 4, 5, 6]
PY

#!/bin/sh
# skip_frame does something else in every decoder: VP9 ignores it, AV1 loses frames, VP8 and H.264 keep them.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2): its vp9, vp8, h264 and libdav1d decoders.
# Behaviour: codec_context.skip_frame = "NONKEY" decodes key frames only, except in the vp9 decoder, which
# ignores it without a word. "NONREF" gives all frames of VP8, VP9 and of H.264 without B-frames, and fewer of
# AV1.
# Seen, 30 frames with 3 key frames: NONKEY: VP9 30, VP8 3, H.264 3, AV1 3. NONREF: 30, 30, 30, AV1 18.
# A good guess is wrong because the setting belongs to the codec context, not to a decoder, and setting it
# never fails.
# Product: it is not used; frames are counted by packets, and by decoding where packets are not frames
# (server/selsa_server/video/index.py, tests/server/video/test_decode.py).
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
CODERS = {
    "vp9": ("libvpx-vp9", "webm", {"g": "10", "deadline": "realtime", "cpu-used": "8"}),
    "vp8": ("libvpx", "webm", {"g": "10", "deadline": "realtime", "cpu-used": "8"}),
    "h264": ("libx264", "mp4", {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=0"}),
    "libdav1d": ("libsvtav1", "mp4", {"g": "10", "preset": "12"}),
}
found = {}
for decoder, (coder, ending, options) in CODERS.items():
    name = f"film-{decoder}.{ending}"
    with av.open(name, "w") as container:
        stream = container.add_stream(coder, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(30):
            picture = np.full((48, 64, 3), 30, np.uint8)
            picture[:, i : i + 8] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for skip in ("DEFAULT", "NONKEY", "NONREF"):
        with av.open(name) as container:
            context = container.streams.video[0].codec_context
            assert context.codec.name == decoder
            context.skip_frame = skip
            found[decoder, skip] = len(list(container.decode(video=0)))
    print(decoder, {skip: found[decoder, skip] for skip in ("DEFAULT", "NONKEY", "NONREF")})
assert all(found[decoder, "DEFAULT"] == 30 for decoder in CODERS)
assert found["vp9", "NONKEY"] == 30
assert [found[decoder, "NONKEY"] for decoder in ("vp8", "h264")] == [3, 3]
assert found["libdav1d", "NONKEY"] < 30
assert [found[decoder, "NONREF"] for decoder in ("vp9", "vp8", "h264")] == [30, 30, 30]
assert found["libdav1d", "NONREF"] < 30
PY

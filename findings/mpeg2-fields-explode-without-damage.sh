#!/bin/sh
# With err_detect=explode, FFmpeg loses 5 of 12 frames of an undamaged MPEG-2 film that is coded in fields.
#
# Ground: containers
# Versions: av 18.1.0 (FFmpeg 8.1.2).
# Behaviour: an MPEG-2 frame may be coded as two pictures, one for each field. The decoder keeps a count of the
# macroblocks that are missing; for two fields it does not come out at zero. "explode" turns that into "Invalid
# data found", without a line in the log, and frames are lost with it.
# Seen: 12 frames, intra only: without options, and with err_detect crccheck, careful or compliant, 12 frames,
# none of them is_corrupt. With explode, 7 packets raise InvalidDataError and 7 frames come. The same pictures
# from FFmpeg's own encoder, interlaced but coded as whole frames: 12 with explode too.
# A good guess is wrong because explode is documented as "abort decoding on minor error detection", and a server
# that must not hide damage sets it for every codec. Test films do not show it, since no encoder of FFmpeg codes
# in fields; encoders of broadcasters do.
# Product: MPEG-2 is decoded without explode, and damaged frames are found by their flags
# (server/selsa_bundle/video/delivery.py,
# tests/server/video/test_film_kinds.py::test_two_fields_of_mpeg2_are_one_frame).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$env/bin/python" - <<'PY'
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

av.logging.set_level(av.logging.PANIC)
SIZES = {1: "00", 2: "01", 3: "101", 4: "110", 5: "1110", 6: "11110"}


def part(code, bits):
    """A start code and what follows it (ISO/IEC 13818-2, section 6.2)."""
    bits += "0" * (-len(bits) % 8)
    return b"\0\0\1" + bytes([code]) + int(bits, 2).to_bytes(len(bits) // 8, "big")


def row_of_blocks(number, row):
    """Four intra macroblocks; the first block has a DC coefficient, the others have no difference to it."""
    level = 1 + (5 * number + 31 * row) % 63
    first = f"{SIZES[level.bit_length()]}{level:b}10"
    return "000010" + "".join("11" + ("10010" if i else first) + 3 * "10010" + 2 * "0010" for i in range(4))


def field(number, bottom):
    sequence = f"{64:012b}{64:012b}0001{3:04b}{1000:018b}1{20:010b}000"  # 64x64, 25 frames a second
    extension = f"0001{0x48:08b}001{0:016b}1{0:016b}"  # main profile, interlaced, 4:2:0
    picture = f"{number:010b}001" + 16 * "1"  # intra
    coding = "1000" + 16 * "1" + "00" + ("10" if bottom else "01") + 10 * "0"
    parts = [] if bottom else [(0xB3, sequence), (0xB5, extension)]
    parts += [(0x00, picture), (0xB5, coding), *((row, row_of_blocks(number, row)) for row in (1, 2))]
    return b"".join(part(*each) for each in parts)


coded = (field(number, bottom) for number in range(12) for bottom in (False, True))
Path("fields.m2v").write_bytes(b"".join(coded) + b"\0\0\1\xb7")
with av.open("frames.m2v", "w", format="mpeg2video") as container:
    stream = container.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "g": "1"})
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for i in range(12):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * i, np.uint8), format="rgb24")
        frame.pts, frame.time_base = i, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
seen = {}
for name in ("fields.m2v", "frames.m2v"):
    for option in ("none", "crccheck", "careful", "compliant", "explode"):
        with av.open(name) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            if option != "none":
                stream.codec_context.options = {"err_detect": option}
            raised, frames = 0, []
            for packet in container.demux(stream):
                try:
                    frames += packet.decode()
                except av.FFmpegError as error:
                    assert isinstance(error, av.InvalidDataError)
                    raised += 1
        assert not any(frame.is_corrupt for frame in frames)
        seen[name, option] = raised, len(frames)
        print(f"{name}, err_detect {option}: {raised} packets raise, {len(frames)} frames")
assert seen.pop(("fields.m2v", "explode")) == (7, 7)
assert set(seen.values()) == {(0, 12)}
PY

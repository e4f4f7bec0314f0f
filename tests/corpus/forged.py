"""Headers that claim what is not there: the refusal costs neither time nor memory."""

import struct
from collections.abc import Callable
from pathlib import Path

from case import COUNT, Case, Refused, encoded
from media import write_video

__all__ = ["FORGED"]

FRONT = {"movflags": "faststart"}
# Such sizes FFmpeg itself refuses, some of them before it says that this is a video.
SIZE = Refused(frozenset({(413, "frame_too_large"), (422, "undecodable"), (415, "not_a_video")}))
TOO_MANY = Refused.with_code(413, "too_many_frames")
UNREADABLE = Refused.with_code(422, "truncated", "undecodable")
BILLION = (10**9).to_bytes(4, "big")


def patched(
    suffix: str,
    change: Callable[[bytearray], bytearray | None],
    codec: str = "mpeg4",
    pix_fmt: str = "yuv420p",
) -> Callable[[Path], Path]:
    """A good video whose bytes `change` alters."""

    def make(folder: Path) -> Path:
        path = write_video(
            folder / f"video.{suffix}",
            COUNT,
            codec=codec,
            pix_fmt=pix_fmt,
            container_options=FRONT if suffix == "mp4" else None,
        )
        data = bytearray(path.read_bytes())
        path.write_bytes(change(data) or data)
        return path

    return make


def billion_samples(data: bytearray) -> None:
    sizes, chunks, times = (data.index(name) for name in (b"stsz", b"stsc", b"stts"))
    data[sizes + 8 : sizes + 16] = (1).to_bytes(4, "big") + BILLION
    data[chunks + 16 : chunks + 20] = data[times + 12 : times + 16] = BILLION


def billion_listed_samples(data: bytearray) -> None:
    at = data.index(b"stsz")
    data[at + 12 : at + 16] = BILLION


def billion_chunks(data: bytearray) -> None:
    at = data.index(b"stco")
    data[at + 8 : at + 12] = BILLION


def billion_edits(data: bytearray) -> None:
    at = data.index(b"elst")
    data[at + 8 : at + 12] = BILLION


def billion_ticks_a_frame(data: bytearray) -> None:
    at = data.index(b"stts")
    data[at + 16 : at + 20] = BILLION


def huge_in_sample_entry(data: bytearray) -> None:
    at = data.index(b"mp4v")
    data[at + 28 : at + 32] = b"\xff\xff\xff\xff"


def avi_frames(data: bytearray) -> None:
    at = data.index(b"avih") + 8
    data[at + 16 : at + 20] = struct.pack("<I", 10**9)
    stream = data.index(b"strh") + 8
    data[stream + 32 : stream + 36] = struct.pack("<I", 10**9)


def avi_size(data: bytearray) -> None:
    at = data.index(b"strf") + 8
    data[at + 4 : at + 12] = struct.pack("<ii", 100_000, 100_000)


def huge_raw(data: bytearray) -> None:
    at = data.index(b"raw ")
    data[at + 28 : at + 32] = b"\xff\xff\xff\xff"


def matroska_size(data: bytearray) -> bytearray:
    """PixelWidth and PixelHeight of one byte become two; all elements around them grow as much."""
    at = data.index(b"\xb0\x81\x40\xba\x81\x30")
    data[at : at + 6] = b"\xb0\x82\x7f\xff\xba\x82\x7f\xff"
    for name in (b"\xe0", b"\xae", b"\x16\x54\xae\x6b", b"\x18\x53\x80\x67"):
        begin = data.rindex(name, 0, at) + len(name)
        width = 9 - data[begin].bit_length()
        size = int.from_bytes(data[begin : begin + width], "big") + 2
        data[begin : begin + width] = size.to_bytes(width, "big")
    return data


def ivf_size(data: bytearray) -> None:
    data[12:16] = b"\xff\xff\xff\xff"


def ivf_count(data: bytearray) -> None:
    data[24:28] = struct.pack("<I", 10**9)


def gif_size(data: bytearray) -> None:
    data[6:10] = b"\xff\xff\xff\xff"


def png_size(data: bytearray) -> None:
    at = data.index(b"IHDR") + 4
    data[at : at + 8] = struct.pack(">II", 100_000, 100_000)


def y4m(header: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "video.y4m"
        path.write_bytes(b"YUV4MPEG2 " + header + b"\n" + (b"FRAME\n" + bytes(64 * 48 * 3 // 2)) * 3)
        return path

    return make


def boxes(data: bytes) -> Callable[[Path], Path]:
    """An MP4 of these boxes after its first one."""

    def make(folder: Path) -> Path:
        path = folder / "video.mp4"
        path.write_bytes(box(b"ftyp", b"isom\0\0\2\0isomiso2mp41") + data)
        return path

    return make


def box(kind: bytes, contents: bytes, length: int | None = None) -> bytes:
    return (len(contents) + 8 if length is None else length).to_bytes(4, "big") + kind + contents


def nested(depth: int) -> bytes:
    return b"".join(box(b"moov", b"", (depth - level) * 8) for level in range(depth))


def forged(name: str, make: Callable[[Path], Path], what: Refused = UNREADABLE) -> Case:
    return Case(name=name, make=make, refused=what)


FORGED = [
    forged("MP4 claims 10^9 samples of one size", patched("mp4", billion_samples), TOO_MANY),
    forged("MP4 claims 10^9 listed samples", patched("mp4", billion_listed_samples)),
    Case(name="MP4 claims 10^9 chunks", make=patched("mp4", billion_chunks)),
    Case(name="MP4 claims 10^9 edits", make=patched("mp4", billion_edits)),
    forged(
        "MP4 whose frames last a day each",
        patched("mp4", billion_ticks_a_frame),
        Refused.with_code(413, "video_too_long"),
    ),
    # The coded frames say what size they have, and are right.
    Case(name="MP4 claims 65535x65535", make=patched("mp4", huge_in_sample_entry), size=(64, 48)),
    Case(name="IVF claims 65535x65535", make=patched("ivf", ivf_size, "libvpx"), size=(64, 48)),
    forged("raw QuickTime claims 65535x65535", patched("mov", huge_raw, "rawvideo", "rgb24"), SIZE),
    forged("FFV1 in Matroska claims 32767x32767", patched("mkv", matroska_size, "ffv1", "bgr0"), SIZE),
    forged("AVI claims 10^9 frames", patched("avi", avi_frames), TOO_MANY),
    forged("AVI claims 100000x100000", patched("avi", avi_size, "rawvideo", "bgr24"), SIZE),
    forged("GIF claims 65535x65535", patched("gif", gif_size, "gif", "rgb8"), SIZE),
    forged("animated PNG claims 100000x100000", patched("apng", png_size, "apng", "rgb24"), SIZE),
    forged("YUV4MPEG claims 100000x100000", y4m(b"W100000 H100000 F25:1 Ip A1:1 C420jpeg"), SIZE),
    forged(
        "YUV4MPEG without a size",
        y4m(b"F25:1"),
        Refused.with_code(415, "not_a_video"),
    ),
    Case(
        name="YUV4MPEG of 10^9 frames per second",
        make=y4m(b"W64 H48 F1000000000:1 Ip A1:1 C420jpeg"),
        frames=3,
        numbered=False,
    ),
    forged("IVF claims 10^9 frames", patched("ivf", ivf_count, "libvpx"), TOO_MANY),
    forged("boxes within boxes, 50 000 deep", boxes(nested(50_000))),
    forged("a box of 2^63 bytes", boxes(b"\0\0\0\1moov" + b"\x7f" + b"\xff" * 7 + bytes(100))),
    forged("a box shorter than its head", boxes(box(b"moov", bytes(100), 4))),
    forged("a box larger than the file", boxes(box(b"moov", bytes(100), 2**31))),
    forged(
        "a movie box without contents",
        boxes(box(b"moov", b"") + box(b"mdat", bytes(1000))),
        Refused.with_code(415, "no_video_stream"),
    ),
    forged("only media data", boxes(box(b"mdat", bytes(1000)))),
    forged("200 000 empty boxes", boxes(box(b"free", b"") * 200_000)),
    Case(
        name="time stamps that leap 100 hours",
        make=encoded("mkv", "ffv1", count=3, pts=[0, 40, 360_000_000]),
        refused=Refused.with_code(413, "video_too_long"),
    ),
]

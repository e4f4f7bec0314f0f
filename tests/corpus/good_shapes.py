"""Sizes, rotations, times and streams: what is shown, as it is shown, when it is shown."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from case import COUNT, Case, encoded, plain
from media import Pixels, audio_only, frame_pixels, write_video

__all__ = ["SHAPES"]

IRREGULAR = [0, 10, 50, 51, 400, 1000, 1033]
TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


def turned(rotation: int) -> Callable[[Path], Path]:
    def picture(number: int) -> Pixels:
        return np.ascontiguousarray(cv2.rotate(frame_pixels(number), TURNS[rotation]))

    size = (64, 48) if rotation == 180 else (48, 64)
    return encoded("mp4", size=size, rotation=rotation, picture=picture)


def two_streams(folder: Path) -> Path:
    """Neither is marked as the default."""
    path = folder / "video.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for width, height in ((32, 24), (64, 48)):
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for number in range(COUNT):
            for stream in streams:
                image = frame_pixels(number, stream.width, stream.height)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def cover_art(folder: Path) -> Path:
    """A film whose first stream is its picture on the shelf."""
    path = folder / "film.mp4"
    with av.open(str(path), "w") as container:
        art = container.add_stream("png", rate=1)
        art.width, art.height, art.pix_fmt = 640, 480, "rgb24"
        art.disposition = av.stream.Disposition.attached_pic
        film = container.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(frame_pixels(200, 640, 480), format="rgb24")
        picture.pts = 0
        container.mux(art.encode(picture))
        for number in range(COUNT):
            image = frame_pixels(number)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
    return path


def with_sound(folder: Path) -> Path:
    """A video and a second of silence, remultiplexed."""
    film, sound = write_video(folder / "film.mp4", COUNT), audio_only(folder / "sound.mp4")
    path = folder / "video.mp4"
    with av.open(str(film)) as one, av.open(str(sound)) as two, av.open(str(path), "w") as out:
        sources = (two, one)
        targets = [out.add_stream_from_template(source.streams[0]) for source in sources]
        for source, target in zip(sources, targets, strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = target
                    out.mux(packet)
    return path


def growing(folder: Path) -> Path:
    """Two sizes in one elementary stream."""
    first = write_video(folder / "a.h264", 5)
    second = write_video(folder / "b.h264", 5, size=(96, 64))
    path = folder / "both.h264"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def dropped_frame(folder: Path) -> Path:
    """Recorders of AVI note a frame that they dropped as a chunk without bytes."""
    path = write_video(folder / "video.avi", COUNT, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    movie, index = data.index(b"movi"), data.index(b"idx1")
    entries = [bytearray(data[at : at + 16]) for at in range(index + 8, index + 8 + 16 * COUNT, 16)]
    (offset,) = struct.unpack_from("<I", entries[6], 8)
    for entry in entries[6:]:
        struct.pack_into("<I", entry, 8, struct.unpack_from("<I", entry, 8)[0] + 8)
    entries.insert(6, bytearray(b"00dc" + struct.pack("<III", 0, offset, 0)))
    data[index + 4 : index + 8 + 16 * COUNT] = struct.pack("<I", 16 * len(entries)) + b"".join(entries)
    data[movie + offset : movie + offset] = b"00dc" + bytes(4)
    lengths = ((4, 24), (movie - 4, 8), (data.index(b"avih") + 24, 1), (data.index(b"strh") + 40, 1))
    for at, more in lengths:
        struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] + more)
    path.write_bytes(data)
    return path


def edit_list(folder: Path) -> Path:
    """The edit list that goes with B-frames begins 5 frames of media time later."""
    path = write_video(
        folder / "video.mov", COUNT, options={"g": "1"}, container_options={"use_editlist": "1"}
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4
    assert int.from_bytes(data[at + 4 : at + 8], "big") >= 1
    entry = at + 8
    with av.open(str(path)) as container:
        ticks = int(container.streams.video[0].duration or 0) // COUNT
    media_time = int.from_bytes(data[entry + 4 : entry + 8], "big")
    data[entry + 4 : entry + 8] = (media_time + 5 * ticks).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def wrapped(before: bytes, suffix: str, after: bytes = b"") -> Callable[[Path], Path]:
    """A video with bytes that belong to nothing around it."""

    def make(folder: Path) -> Path:
        path = write_video(folder / f"video.{suffix}", COUNT)
        path.write_bytes(before + path.read_bytes() + after)
        return path

    return make


def renamed(suffix: str, name: str) -> Callable[[Path], Path]:
    return lambda folder: write_video(folder / f"video.{suffix}", COUNT).rename(folder / name)


SHAPES = [
    *(Case(name=f"rotation {turn}", make=turned(turn), rotation=turn, size=(64, 48)) for turn in TURNS),
    Case(
        name="variable frame rate in Matroska",
        make=encoded("mkv", "ffv1", count=7, pts=IRREGULAR),
        frames=7,
        times=[ms / 1000 for ms in IRREGULAR],
    ),
    Case(
        name="variable frame rate in MP4",
        make=encoded("mp4", count=7, pts=IRREGULAR, options={"bf": "2"}),
        frames=7,
        times=[ms / 1000 for ms in IRREGULAR],
    ),
    Case(
        name="negative composition offsets",
        make=encoded("mp4", options={"bf": "2"}, container_options={"movflags": "negative_cts_offsets"}),
    ),
    Case(
        name="negative time stamps",
        make=encoded("nut", "mpeg4", count=5, pts=[-80, -40, 0, 40, 80]),
        frames=5,
    ),
    Case(
        name="time stamps that begin at nine hours",
        make=encoded("mkv", count=3, pts=[32_400_000, 32_400_040, 32_400_080]),
        frames=3,
        times=[32400, 32400.04, 32400.08],
    ),
    Case(name="edit list that leaves out the beginning", make=edit_list, frames=7, numbered=False),
    Case(name="odd size", make=encoded("mkv", "ffv1", "bgr0", size=(61, 43)), size=(61, 43)),
    Case(
        name="odd size in VP9",
        make=encoded("webm", "libvpx-vp9", size=(61, 43), options={"deadline": "realtime", "cpu-used": "8"}),
        size=(61, 43),
    ),
    Case(
        name="1x1",
        make=encoded("mkv", "ffv1", "bgr0", size=(1, 1), picture=plain(1, 1)),
        size=(1, 1),
        numbered=False,
    ),
    Case(
        name="1x1 GIF",
        make=encoded("gif", "gif", "rgb8", size=(1, 1), picture=plain(1, 1)),
        size=(1, 1),
        numbered=False,
    ),
    Case(
        name="2x2 h264",
        make=encoded("mp4", size=(2, 2), picture=plain(2, 2)),
        size=(2, 2),
        numbered=False,
    ),
    Case(
        name="4000x2, a line",
        make=encoded("mkv", "ffv1", "bgr0", count=2, size=(4000, 2), picture=plain(4000, 2)),
        frames=2,
        size=(4000, 2),
        numbered=False,
    ),
    Case(
        name="2x4000, a line upright",
        make=encoded("mkv", "ffv1", "bgr0", count=2, size=(2, 4000), picture=plain(2, 4000)),
        frames=2,
        size=(2, 4000),
        numbered=False,
    ),
    Case(
        name="8K",
        make=encoded("mp4", "mpeg4", count=2, size=(7680, 4320), picture=plain(7680, 4320)),
        frames=2,
        size=(7680, 4320),
        numbered=False,
        heavy=True,
    ),
    Case(name="one frame", make=encoded("mp4", count=1), frames=1),
    Case(name="one frame as GIF", make=encoded("gif", "gif", "rgb8", count=1), frames=1),
    Case(name="two video streams, of which players show the first", make=two_streams, size=(32, 24)),
    Case(name="a dropped frame in AVI", make=dropped_frame),
    Case(name="cover art before the film", make=cover_art, size=(64, 48)),
    Case(name="sound before the film", make=with_sound),
    Case(name="a size that changes on the way", make=growing, frames=10, size=(64, 48), numbered=False),
    Case(name="Matroska that is named MP4", make=renamed("mkv", "video.mp4")),
    Case(name="MP4 that is named AVI", make=renamed("mp4", "video.avi")),
    Case(name="MPEG-TS that is named text", make=renamed("ts", "video.txt")),
    Case(name="MP4 with a free box behind", make=wrapped(b"", "mp4", b"\0\0\0\x10free" + bytes(8))),
    Case(name="MP4 with zeros behind", make=wrapped(b"", "mp4", bytes(5000))),
    Case(name="MPEG-TS that begins within a packet", make=wrapped(b"\x11" * 100, "ts")),
]

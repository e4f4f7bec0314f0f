"""Files that are no video at all, or have none inside: a named refusal, never an empty answer."""

import gzip
import io
import struct
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from case import Case, Refused, encoded
from media import audio_only, frame_pixels, png, same_priority, write_video

__all__ = ["NO_VIDEOS"]

NOT_A_VIDEO = Refused.with_code(415, "not_a_video")
NO_STREAM = Refused.with_code(415, "no_video_stream")
NO_FRAMES = Refused.with_code(422, "no_frames")
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n/etc/hostname\n#EXT-X-ENDLIST\n"
SDP = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
DASH = b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>'
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>"
RANDOM = np.random.default_rng(7)


def contents(data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "video.mp4"
        path.write_bytes(data)
        return path

    return make


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("video.mp4", bytes(1 << 20))
    return file.getvalue()


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    return file.getvalue()


def image(suffix: str) -> Callable[[Path], Path]:
    return lambda folder: png(folder / f"image.{suffix}")


@same_priority()
def avif(folder: Path) -> Path:
    path = folder / "image.avif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", rate=1, options={"preset": "12"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        frame = av.VideoFrame.from_ndarray(frame_pixels(5, 128, 96), format="rgb24")
        container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def sound_in_matroska(folder: Path) -> Path:
    path = folder / "sound.mka"
    with (
        av.open(str(audio_only(folder / "a.m4a"))) as source,
        av.open(str(path), "w", format="matroska") as out,
    ):
        target = out.add_stream_from_template(source.streams[0])
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = target
                out.mux(packet)
    return path


def gzipped(folder: Path) -> Path:
    path = write_video(folder / "video.mp4", 3)
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


def refused(name: str, make: Callable[[Path], Path], what: Refused = NOT_A_VIDEO) -> Case:
    return Case(name=name, make=make, refused=what)


EMPTY_MP4 = {"movflags": "frag_keyframe+empty_moov"}
NO_VIDEOS = [
    refused("empty", contents(b""), Refused.with_code(400, "empty_body")),
    refused("one byte", contents(b"x")),
    refused("text", contents(b"Just some text.\n" * 50)),
    refused("JSON", contents(b'{"video": "no"}')),
    refused("HLS playlist", contents(PLAYLIST)),
    refused("list of files to join", contents(b"ffconcat version 1.0\nfile '/etc/hostname'\n")),
    refused("session description", contents(SDP)),
    refused("DASH manifest", contents(DASH)),
    refused("SVG", contents(SVG)),
    refused("subtitles", contents(b"1\n00:00:00,000 --> 00:00:01,000\nHello\n\n" * 20)),
    refused("ffmetadata", contents(b";FFMETADATA1\ntitle=x\n")),
    *(refused(f"{suffix} image", image(suffix)) for suffix in ("png", "jpg", "bmp", "webp", "tiff", "ppm")),
    refused("AVIF image", avif),
    refused("zip", contents(zipped())),
    refused("gzip of a video", gzipped),
    refused("PDF", contents(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n")),
    refused("ELF", contents(b"\x7fELF\x02\x01\x01" + bytes(500))),
    refused("random bytes", contents(RANDOM.bytes(50_000))),
    refused("zeros", contents(bytes(50_000))),
    refused("ones", contents(b"\xff" * 50_000)),
    refused("sound in MP4", lambda folder: audio_only(folder / "a.m4a"), NO_STREAM),
    refused("sound in Matroska", sound_in_matroska, NO_STREAM),
    refused("sound in WAV", contents(wav()), Refused.with_code(415, "not_a_video", "no_video_stream")),
    refused("no frames in MP4", encoded("mp4", count=0, container_options=EMPTY_MP4), NO_FRAMES),
    refused("no frames in Matroska", encoded("mkv", "mpeg4", count=0), NO_FRAMES),
    refused("no frames in WebM", encoded("webm", "libvpx", count=0), NO_FRAMES),
    refused(
        "GIF without a frame",
        contents(b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b";"),
        Refused.with_code(422, "no_frames", "undecodable"),
    ),
]

"""A camera of this machine as JPEG images with their times."""

import sys
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from selsa_client.cli.remux import opened_video
from selsa_client.live.protocol import TimedImage
from selsa_client.wire.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# FFmpeg's input devices, and how one names a camera to each.
_DEVICES: Final = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}
# FFmpeg's scale for JPEG, 2 to 31; artefacts of 3 are not seen.
_QUALITY: Final = 3


def camera_images(device: str) -> Iterator[TimedImage]:
    """The images of a camera: a number, or what the system calls it. It is open until they are closed.

    Raises:
        InputError: there is no such camera, or it is in use.
        MissingPackageError: PyAV is not installed.
    """
    kind, pattern = _DEVICES.get(sys.platform, _DEVICES["linux"])
    address = pattern.format(device) if sys.platform == "win32" or device.isdecimal() else device
    options = {"framerate": "30", "pixel_format": "uyvy422"} if kind == "avfoundation" else {}
    return images_of(*opened_video(address, f"camera:{device}", options, kind=kind))


def images_of(container: "InputContainer", stream: "VideoStream") -> Iterator[TimedImage]:
    """The frames as JPEG images: as they are where the camera gives such, else encoded.

    Times begin at 0 and never go back.
    """
    import av

    encoder: VideoCodecContext | None = None
    first: float | None = None
    last = 0.0
    try:
        with closing(container):
            for item in _shown(container, stream):
                now = _seconds(item)
                first = now if first is None else first
                last = max(last, now - first)
                if isinstance(item, av.Packet):
                    yield TimedImage(bytes(item), last)
                    continue
                encoder = encoder or _encoder(item)
                for image in _encoded(encoder, item):
                    yield TimedImage(image, last)
    except av.FFmpegError as error:
        raise InputError(f"The camera cannot be read on: {error.strerror}") from error


def _shown(container: "InputContainer", stream: "VideoStream") -> Iterator["Packet[Any] | VideoFrame"]:
    as_it_is = stream.codec_context.codec.canonical_name == "mjpeg"
    for packet in container.demux(stream):
        if not as_it_is:
            yield from packet.decode()
        elif packet.size:
            yield packet


def _seconds(item: "Packet[Any] | VideoFrame") -> float:
    if item.pts is None or item.time_base is None:
        return 0.0
    return float(item.pts * item.time_base)


def _encoder(frame: "VideoFrame") -> "VideoCodecContext":
    from av.video.codeccontext import VideoCodecContext

    encoder = VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.framerate = Fraction(30)
    encoder.qmin = encoder.qmax = _QUALITY
    return encoder


def _encoded(encoder: "VideoCodecContext", frame: "VideoFrame") -> Iterator[bytes]:
    picture = frame.reformat(format=encoder.pix_fmt)
    for packet in encoder.encode(picture):
        yield bytes(packet)

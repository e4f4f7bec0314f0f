"""A camera of this machine as JPEG images with times."""

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

# FFmpeg's input devices, and the form of a camera's address.
_DEVICES: Final = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}
# FFmpeg's scale for JPEG, 2 (best) to 31; artefacts of 3 are invisible.
_QUALITY: Final = 3


def camera_images(device: str) -> Iterator[TimedImage]:
    """The images of a camera, given as a number or by its system name. Closing the images closes it.

    Raises:
        InputError: the camera does not exist or is in use.
        MissingPackageError: PyAV is not installed.
    """
    kind, pattern = _DEVICES.get(sys.platform, _DEVICES["linux"])
    address = pattern.format(device) if sys.platform == "win32" or device.isdecimal() else device
    options = {"framerate": "30", "pixel_format": "uyvy422"} if kind == "avfoundation" else {}
    return images_of(*opened_video(address, f"camera:{device}", options, kind=kind))


def images_of(container: "InputContainer", stream: "VideoStream") -> Iterator[TimedImage]:
    """The frames as JPEG images: unchanged if the camera delivers JPEG, otherwise encoded.

    Times start at 0 and never decrease.
    """
    import av

    encoder: VideoCodecContext | None = None
    first: float | None = None
    last = 0.0
    try:
        with closing(container):
            for item in _packets_or_frames(container, stream):
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
        raise InputError(f"Reading the camera failed: {error.strerror}") from error


def _packets_or_frames(
    container: "InputContainer", stream: "VideoStream"
) -> Iterator["Packet[Any] | VideoFrame"]:
    is_jpeg = stream.codec_context.codec.canonical_name == "mjpeg"
    for packet in container.demux(stream):
        if not is_jpeg:
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

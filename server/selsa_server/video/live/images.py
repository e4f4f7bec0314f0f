"""Frames that come as single JPEG images."""

from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import Final

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from selsa_server.errors import RequestError
from selsa_server.video.live.container import LiveCounts, LiveItem, LiveOptions, live_items
from selsa_server.video.live.input import LiveSource

JPEG_MAGIC: Final = b"\xff\xd8\xff"
TICKS: Final = 1_000_000


def image_frames(
    source: LiveSource, options: LiveOptions, counts: LiveCounts
) -> Generator[LiveItem, None, None]:
    """The images in order, and before the first one what is known of them.

    Raises:
        RequestError: times that go back.
        VideoError: over a limit, or (strict only) an image that does not decode.
    """
    yield from live_items(_images(source, options), None, options, counts)


def _images(source: LiveSource, options: LiveOptions) -> Iterator[VideoFrame | None]:
    # FFmpeg's decoder, as for a file of MJPEG: it refuses a size over the limit before it takes memory.
    decoder = VideoCodecContext.create("mjpeg", "r")
    decoder.options = {"max_pixels": str(options.limits.decoder_pixels), "err_detect": "crccheck+explode"}
    decoder.thread_count = 1
    last = 0.0
    while (message := source.get()) is not None:
        if message.time is not None and message.time < last:
            raise RequestError("malformed_request", f"A frame's time is {message.time:g} s after {last:g} s.")
        last = last if message.time is None else message.time
        frame = _decoded(decoder, message.data)
        if frame is not None:
            frame.time_base = Fraction(1, TICKS)
            frame.pts = None if message.time is None else round(message.time * TICKS)
        yield frame


def _decoded(decoder: VideoCodecContext, data: bytes) -> VideoFrame | None:
    if not data.startswith(JPEG_MAGIC):
        return None
    try:
        frames = decoder.decode(Packet(data))
    except (av.FFmpegError, ValueError):
        return None
    return frames[0] if len(frames) == 1 else None

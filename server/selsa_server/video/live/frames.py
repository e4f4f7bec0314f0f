"""Frames of a live source on their way to the engines: decoded as they come, resized, padded."""

from collections.abc import Callable, Generator, Iterator
from typing import Final

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from selsa_bundle.preprocess import Preprocess
from selsa_bundle.video.delivery import Undecodable
from selsa_bundle.video.extent import ClusterCheck
from selsa_bundle.video.transport import TransportCheck
from selsa_server.errors import RequestError
from selsa_server.run_context import Stopwatch
from selsa_server.schema.stream import LiveContainer
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.live.container import (
    IMAGE_TIME_BASE,
    LiveCounts,
    LiveHead,
    LiveItem,
    LiveOptions,
    container_frames,
    live_items,
)
from selsa_server.video.live.input import LiveFile, LiveSource
from selsa_server.video.live.mp4 import Mp4Stream
from selsa_server.video.prepared import TimedFrame, prepared_items

JPEG_MAGIC: Final = b"\xff\xd8\xff"

PreparedLiveItem = LiveHead | TimedFrame | CorruptFrame


def prepared_live_frames(
    source: LiveSource,
    container: LiveContainer,
    options: LiveOptions,
    preprocess: Preprocess,
    clock: Stopwatch,
    counts: LiveCounts,
    *,
    beat: Callable[[], None] = lambda: None,
) -> Generator[PreparedLiveItem, None, None]:
    """The frames in order; before the first one, a `LiveHead`. Meant to run in a separate thread.

    Args:
        source: the container's bytes, or images.
        container: what they are.
        options: how to read it.
        preprocess: how frames are made ready.
        clock: its `decode` includes the time to wait for bytes.
        beat: called with every frame, as a sign of progress.

    Raises:
        RequestError: times of images that go back.
        VideoError: not that container, over a limit, or (strict only) cut off or a frame does not decode.
        DetectError: what the source says that its client did wrong.
    """
    items = _items(source, container, options, counts, preprocess, beat)
    prepared: Generator[PreparedLiveItem, None, None] = prepared_items(items, preprocess, clock)
    yield from prepared


def _items(
    source: LiveSource,
    container: LiveContainer,
    options: LiveOptions,
    counts: LiveCounts,
    preprocess: Preprocess,
    beat: Callable[[], None],
) -> Generator[LiveItem, None, None]:
    if container == "jpeg":
        return live_items(_images(source, options), None, options, counts, preprocess=preprocess)
    file = live_file(source, container, options)
    return container_frames(file, container, options, counts, preprocess=preprocess, beat=beat)


def live_file(source: LiveSource, container: LiveContainer, options: LiveOptions) -> LiveFile | Mp4Stream:
    """The container's bytes as a file that checks them while they are read."""
    if container == "mp4":
        return Mp4Stream(LiveFile(source), options.limits.max_frames)
    return LiveFile(source, TransportCheck() if container == "mpegts" else ClusterCheck())


def _images(source: LiveSource, options: LiveOptions) -> Iterator[VideoFrame | Undecodable]:
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
            frame.time_base = IMAGE_TIME_BASE
            frame.pts = None if message.time is None else round(message.time / IMAGE_TIME_BASE)
        yield frame or Undecodable(None)


def _decoded(decoder: VideoCodecContext, data: bytes) -> VideoFrame | None:
    if not data.startswith(JPEG_MAGIC):
        return None
    try:
        frames = decoder.decode(Packet(data))
    except (av.FFmpegError, ValueError):
        return None
    return frames[0] if len(frames) == 1 else None

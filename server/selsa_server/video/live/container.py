"""Frames of a container that is still arriving: read forward only, in the order of display."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from selsa_server.errors import DetectError, VideoError
from selsa_server.video.container import FORMATS, NOT_A_VIDEO, VideoLimits, video_stream
from selsa_server.video.decode import CorruptFrame, DecodedFrame
from selsa_server.video.index import clockwise_rotation, shows_a_frame
from selsa_server.video.picture import Picture

# Enough to learn what is in it, and little to wait for at a live source.
PROBE_BYTES: Final = 1 << 20
PROBE_MICROSECONDS: Final = 1_000_000


class Readable(Protocol):
    """A file that is read forward."""

    @property
    def failure(self) -> DetectError | None:
        """Why it ended before its end."""
        ...

    @property
    def cut_off(self) -> bool:
        """Whether it ended in the middle of something."""
        ...

    def read(self, size: int, /) -> bytes:
        """Between one byte and `size`; empty at the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveHead:
    """What is known once the first frame is there.

    Attributes:
        width: pixels as displayed.
        height: pixels as displayed.
        codec: FFmpeg's name of the codec.
        average_rate: frames per second, if the container says.
        time_base: seconds per tick.
        rotation: degrees clockwise applied for display.
    """

    width: int
    height: int
    codec: str
    average_rate: Fraction | None
    time_base: Fraction
    rotation: int


@dataclass(slots=True)
class LiveCounts:
    """Frames so far: all, and those of them that `stride` leaves out."""

    seen: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a live source is read.

    Attributes:
        limits: what it may be at most.
        tolerant: give a `CorruptFrame` for what does not decode instead of an error.
        stride: give every stride-th frame.
    """

    limits: VideoLimits
    tolerant: bool
    stride: int


LiveItem = LiveHead | DecodedFrame | CorruptFrame


def container_frames(
    file: Readable,
    kind: str,
    options: LiveOptions,
    counts: LiveCounts,
    *,
    beat: Callable[[], None] = lambda: None,
) -> Generator[LiveItem, None, None]:
    """The frames in order, and before the first one what is known of them.

    Args:
        file: the container's bytes.
        kind: FFmpeg's name of the container.
        options: how to read it.
        counts: kept up to date.
        beat: called with every frame, as a sign of progress.

    Raises:
        VideoError: not that container, over a limit, or (strict only) cut off or a frame does not decode.
    """
    try:
        with _open(file, kind, options.limits) as container:
            stream = video_stream(container, options.limits)
            yield from live_items(_decode(container, stream), stream, options, counts, beat=beat)
    except VideoError as error:
        raise _cause(file, options) or error from error
    cause = _cause(file, options)
    if cause is not None:
        raise cause


def _cause(file: Readable, options: LiveOptions) -> DetectError | None:
    """What ended the input, of which FFmpeg only sees the end."""
    if file.failure is not None:
        return file.failure
    if file.cut_off and not options.tolerant:
        return VideoError("truncated", "The stream ended in the middle of a part; all records are valid.")
    return None


def live_items(
    frames: Iterable[VideoFrame | None],
    stream: VideoStream | None,
    options: LiveOptions,
    counts: LiveCounts,
    *,
    beat: Callable[[], None] = lambda: None,
) -> Generator[LiveItem, None, None]:
    """Decoded frames (None for one that does not decode) as what the engines want of them."""
    picture = Picture(options.limits.max_pixels)
    first: float | None = None
    head_given = False
    for frame in frames:
        beat()
        position = counts.seen
        counts.seen += 1
        if frame is None or frame.is_corrupt:
            if not options.tolerant:
                raise _undecodable(position)
            yield CorruptFrame(position)
            continue
        first = first if first is not None else frame.time
        _check_limits(frame, counts.seen, (frame.time or 0.0) - (first or 0.0), options.limits)
        if not head_given:
            head_given = True
            yield _head(frame, stream)
        if position % options.stride:
            counts.skipped += 1
            continue
        pixels = picture.pixels(frame)
        if pixels is None:
            raise _undecodable(position)
        yield DecodedFrame(position, frame.pts if stream else None, frame.time, pixels)


@contextmanager
def _open(file: Readable, kind: str, limits: VideoLimits) -> Iterator[InputContainer]:
    options = {
        "format_whitelist": FORMATS,
        "protocol_whitelist": "file",
        "max_pixels": str(limits.decoder_pixels),
        "max_streams": "64",
        "probesize": str(PROBE_BYTES),
        "analyzeduration": str(PROBE_MICROSECONDS),
    }
    try:
        container = av.open(file, "r", format=kind, options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise VideoError("not_a_video", f"These bytes are no {kind} stream. {NOT_A_VIDEO}") from error
    with container:
        yield container


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame | None]:
    """Frames in the order of display; None for what does not decode."""
    try:
        for packet in container.demux(stream):
            if packet.size and not shows_a_frame(stream, packet):
                continue
            yield from _frames_of(packet, stream)
    except av.FFmpegError:
        yield None


def _frames_of(packet: "Packet[VideoStream]", stream: VideoStream) -> "Sequence[VideoFrame | None]":
    try:
        return stream.decode(packet)
    except (av.FFmpegError, ValueError):
        return [None]


def _check_limits(frame: VideoFrame, count: int, seconds: float, limits: VideoLimits) -> None:
    if frame.width * frame.height > limits.max_pixels:
        raise VideoError(
            "frame_too_large",
            f"A frame has {frame.width} x {frame.height} pixels, {limits.max_pixels} are allowed; scale the "
            "video down.",
        )
    if count > limits.max_frames:
        raise VideoError(
            "too_many_frames", f"The stream has more than the {limits.max_frames} frames allowed; begin anew."
        )
    if seconds > limits.max_duration:
        raise VideoError(
            "video_too_long",
            f"The stream is longer than the {limits.max_duration:.0f} s allowed; begin anew.",
        )


def _head(frame: VideoFrame, stream: VideoStream | None) -> LiveHead:
    rotation = clockwise_rotation(frame)
    turned = rotation in (90, 270)
    return LiveHead(
        width=frame.height if turned else frame.width,
        height=frame.width if turned else frame.height,
        codec="mjpeg" if stream is None else stream.codec_context.codec.canonical_name,
        average_rate=None if stream is None else stream.average_rate,
        time_base=Fraction(1, 1_000_000) if stream is None else stream.time_base or Fraction(1, 90_000),
        rotation=rotation,
    )


def _undecodable(position: int) -> VideoError:
    return VideoError(
        "undecodable",
        f"Frame {position} of the stream does not decode; use decode=tolerant to go on with the others.",
    )

"""Frames of a container that is still arriving: read forward only, in display order."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from selsa_bundle.picture import Orientation, Picture
from selsa_bundle.preprocess import Preprocess
from selsa_bundle.video.delivery import Timeline, Undecodable, deliver
from selsa_bundle.video.opening import opening_options
from selsa_server.errors import DetectError, VideoError
from selsa_server.video.container import NOT_A_VIDEO, VideoLimits, video_stream
from selsa_server.video.decode import CorruptFrame, DecodedFrame
from selsa_server.video.index import SQUARE, displayed_aspect

# Enough to find the streams, with little delay at a live source.
PROBE_BYTES: Final = 1 << 20
PROBE_MICROSECONDS: Final = 1_000_000
IMAGE_TIME_BASE: Final = Fraction(1, 1_000_000)


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

    @property
    def clock_restarts(self) -> int:
        """How often its clock restarted and was continued."""
        ...

    def read(self, size: int, /) -> bytes:
        """Between one byte and `size`; empty at the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveHead:
    """What is known after the first frame.

    Attributes:
        width: pixels as displayed.
        height: pixels as displayed.
        codec: FFmpeg's name of the codec.
        average_rate: frames per second, if the container says.
        time_base: seconds per tick.
        orientation: how stored frames are turned and mirrored for display.
        sample_aspect_ratio: width of a displayed pixel divided by its height.
    """

    width: int
    height: int
    codec: str
    average_rate: Fraction | None
    time_base: Fraction
    orientation: Orientation
    sample_aspect_ratio: Fraction


@dataclass(slots=True)
class LiveCounts:
    """Counts of a live source so far.

    Attributes:
        seen: frames.
        skipped: frames that `stride` leaves out.
        clock_jumps: how often the source's clock restarted or leapt.
        cut_off: whether the source ended in the middle of something.
    """

    seen: int = 0
    skipped: int = 0
    clock_jumps: int = 0
    cut_off: bool = False


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
    preprocess: Preprocess | None = None,
    beat: Callable[[], None] = lambda: None,
) -> Generator[LiveItem, None, None]:
    """The frames in order; before the first one, a `LiveHead` with the properties of the video.

    Args:
        file: the container's bytes.
        options: how to read it.
        preprocess: frames shrink to its `decoded_size`, where it names one; None: they keep their size.
        beat: called with every frame, as a sign of progress.

    Raises:
        VideoError: not that container, over a limit, or (strict only) cut off or a frame does not decode.
    """
    try:
        with _open(file, kind, options.limits) as container:
            stream = video_stream(container, options.limits)
            frames = deliver(_packets(container, stream, counts), stream)
            yield from live_items(frames, stream, options, counts, preprocess=preprocess, beat=beat)
    except VideoError as error:
        raise _cause(file, options, counts) or error from error
    cause = _cause(file, options, counts)
    if cause is not None:
        raise cause


def _cause(file: Readable, options: LiveOptions, counts: LiveCounts) -> DetectError | None:
    """Why the input ended; FFmpeg sees only that it ended."""
    counts.cut_off = counts.cut_off or file.cut_off
    counts.clock_jumps = max(counts.clock_jumps, file.clock_restarts)
    if file.failure is not None:
        return file.failure
    if counts.cut_off and not options.tolerant:
        return VideoError(
            "truncated",
            "The stream ended in the middle of a part, or parts of it are missing; all records are valid.",
        )
    return None


def live_items(
    frames: Iterable[VideoFrame | Undecodable],
    stream: VideoStream | None,
    options: LiveOptions,
    counts: LiveCounts,
    *,
    preprocess: Preprocess | None = None,
    beat: Callable[[], None] = lambda: None,
) -> Generator[LiveItem, None, None]:
    """Items for the engines from decoded frames. Without a `stream`, frames already have their times."""
    picture = Picture(options.limits.max_pixels, preprocess)
    timeline = None if stream is None else Timeline(stream)
    time_base = IMAGE_TIME_BASE if stream is None else stream.time_base or Fraction(1, 90_000)
    first: float | None = None
    head_given = False
    for frame in frames:
        beat()
        position = counts.seen
        counts.seen += 1
        pts = None if isinstance(frame, Undecodable) else frame.pts
        if timeline is not None:
            pts = timeline.place(frame)
            counts.clock_jumps = timeline.jumps
        if isinstance(frame, Undecodable) or frame.is_corrupt:
            if not options.tolerant:
                raise _undecodable(position)
            yield CorruptFrame(position)
            continue
        time = None if pts is None else float(pts * time_base)
        first = first if first is not None else time
        _check_limits(frame, counts.seen, (time or 0.0) - (first or 0.0), options.limits)
        if not head_given:
            head_given = True
            yield _head(frame, stream, time_base)
        if position % options.stride:
            counts.skipped += 1
            continue
        pixels = picture.pixels(frame)
        if pixels is None:
            raise _undecodable(position)
        yield DecodedFrame(
            position, None if timeline is None else pts, time, pixels, picture.source_size(frame)
        )


@contextmanager
def _open(file: Readable, kind: str, limits: VideoLimits) -> Iterator[InputContainer]:
    options = {
        **opening_options(limits.decoder_pixels),
        "probesize": str(PROBE_BYTES),
        "analyzeduration": str(PROBE_MICROSECONDS),
    }
    try:
        container = av.open(file, "r", format=kind, options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise VideoError("not_a_video", f"These bytes are no {kind} stream. {NOT_A_VIDEO}") from error
    with container:
        yield container


def _packets(
    container: InputContainer, stream: VideoStream, counts: LiveCounts
) -> "Iterator[Packet[VideoStream]]":
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        counts.cut_off = True


def _check_limits(frame: VideoFrame, count: int, seconds: float, limits: VideoLimits) -> None:
    limits.check_size(frame.width, frame.height)
    if count > limits.max_frames:
        raise VideoError(
            "too_many_frames",
            f"The stream has more than the {limits.max_frames} frames allowed; start a new stream.",
        )
    if seconds > limits.max_duration:
        raise VideoError(
            "video_too_long",
            f"The stream is longer than the {limits.max_duration:.0f} s allowed; start a new stream.",
        )


def _head(frame: VideoFrame, stream: VideoStream | None, time_base: Fraction) -> LiveHead:
    orientation = Orientation.of(frame)
    width, height = orientation.size(frame.width, frame.height)
    return LiveHead(
        width=width,
        height=height,
        codec="mjpeg" if stream is None else stream.codec_context.codec.canonical_name,
        average_rate=None if stream is None else stream.average_rate,
        time_base=time_base,
        orientation=orientation,
        sample_aspect_ratio=SQUARE if stream is None else displayed_aspect(stream, orientation),
    )


def _undecodable(position: int) -> VideoError:
    return VideoError(
        "undecodable",
        f"Frame {position} of the stream does not decode; use decode=tolerant to go on with the others.",
    )

"""Pass 1 over a video: how many frames there are, when each is shown, and where decoding can begin.

Of ordinary files packets are read, not decoded (except up to the first frame, which alone tells size and
orientation), so that a long video costs little more than reading it, and 9 bytes of memory per frame. Files
whose packets are not frames are decoded once, in the same memory.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from selsa_bundle.picture import UPRIGHT, Orientation
from selsa_server.errors import VideoError
from selsa_server.video.container import (
    CUT_IN_HEAD,
    NO_FRAMES,
    VideoLimits,
    claims_of,
    open_video,
    video_stream,
)
from selsa_server.video.delivery import NO_TIMESTAMPS, Timeline, Undecodable, codec_rate, deliver
from selsa_server.video.extent import claims_more, matroska_extent
from selsa_server.video.mp4 import Mp4Claims
from selsa_server.video.packets import Packets, Tally, VideoPacket, read_packets
from selsa_server.video.transport import STRIDES, transport_fault

SQUARE: Final = Fraction(1)
NEVER: Final = 1 << 62
AVI_INDEX_BYTES: Final = 48  # for a frame and the sound beside it
ADVICE: Final = "send the whole file, or use decode=tolerant to detect on the frames that are there"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoIndex:
    """Result of pass 1 over a video of n frames.

    Attributes:
        width: pixels of the first frame as displayed.
        height: pixels of the first frame as displayed.
        codec: FFmpeg's name of the codec.
        average_rate: frames per second, if the container knows.
        time_base: seconds per tick of `pts`.
        duration: seconds from the first frame's start to the last one's end.
        orientation: how stored frames are turned and mirrored for display.
        sample_aspect_ratio: width of a displayed pixel divided by its height.
        pts: int64 [n], ascending; see `Timeline` for where they are not the container's.
        keyframe: bool [n], whether decoding can begin at the frame.
        has_pts: whether `pts` are the container's, continued where its clock restarts.
        by_pts: whether frames are told apart by their time stamps; else they are counted.
        clock_jumps: how often the container's clock restarted or leapt.
        stream: index of the stream in the container.
        damage: a sentence that says what of the file is missing, None for a whole one.
        limits: the limits that were checked.
    """

    width: int
    height: int
    codec: str
    average_rate: Fraction | None
    time_base: Fraction
    duration: float
    pts: npt.NDArray[np.int64]
    keyframe: npt.NDArray[np.bool_]
    has_pts: bool
    by_pts: bool = True
    orientation: Orientation = UPRIGHT
    sample_aspect_ratio: Fraction = SQUARE
    clock_jumps: int = 0
    stream: int = 0
    damage: str | None = None
    limits: VideoLimits = field(default_factory=VideoLimits)

    def __len__(self) -> int:
        """n, the number of frames."""
        return len(self.pts)

    def times(self) -> npt.NDArray[np.float64]:
        """float64 [n], seconds: when each frame is shown."""
        return np.asarray(self.pts * float(self.time_base), np.float64)

    def time_of(self, i: int) -> float:
        """Seconds: when frame `i` is shown."""
        return float(int(self.pts[i]) * self.time_base)


@dataclass(slots=True)
class _Frames:
    """What pass 1 found, by packets or by decoding; see `VideoIndex`."""

    pts: npt.NDArray[np.int64]
    keyframe: npt.NDArray[np.bool_]
    tally: Tally
    first: VideoFrame | None
    last_duration: int
    average_rate: Fraction | None
    has_pts: bool = True
    by_pts: bool = True
    jumps: int = 0


def index_video(path: Path, limits: VideoLimits, *, beat: Callable[[], None] = lambda: None) -> VideoIndex:
    """Find a video's frames.

    A file that is cut off but has frames is indexed as far as it goes, with `damage` set.

    Args:
        limits: the largest one that is taken.
        beat: called with every packet, as a sign of progress.

    Raises:
        VideoError: the file is not a video, has no frames, or is over a limit.
    """
    claims = claims_of(path)
    with open_video(path, limits, claims) as container:
        stream = _stream(path, container, limits)
        limits.check_size(stream.codec_context.width, stream.codec_context.height)
        limits.check_count(_declared_frames(container, stream))
        packets = read_packets(container, stream, limits, beat)
        if packets is not None:
            return _assemble(path, claims, stream, _from_packets(stream, packets), limits)
    with open_video(path, limits, claims) as container:
        stream = _stream(path, container, limits)
        return _assemble(path, claims, stream, _from_decoder(container, stream, limits, beat), limits)


def _stream(path: Path, container: InputContainer, limits: VideoLimits) -> VideoStream:
    try:
        return video_stream(container, limits)
    except VideoError as error:
        # An index that is cut off lists no stream, or one without its codec.
        if claims_more(path):
            raise VideoError("truncated", CUT_IN_HEAD) from error
        raise


def _from_packets(stream: VideoStream, packets: Packets) -> _Frames:
    pts, keyframe = packets.ordered()
    rate = stream.average_rate or None
    last = packets.tally.last
    duration = 0 if last is None else last.duration or 0
    return _Frames(pts, keyframe, packets.tally, packets.first, duration, rate)


def _from_decoder(
    container: InputContainer, stream: VideoStream, limits: VideoLimits, beat: Callable[[], None]
) -> _Frames:
    timeline, tally = Timeline(stream), Tally()
    pts, keyframe = array("q"), bytearray()
    first: VideoFrame | None = None
    lost, last_duration = False, 0
    for frame in deliver(_tallied(container, stream, tally, beat), stream):
        pts.append(timeline.place(frame))
        limits.check_count(len(pts))
        if isinstance(frame, Undecodable):
            lost = True
            keyframe.append(0)
            continue
        if first is None:
            limits.check_size(frame.width, frame.height)
            first = frame
        keyframe.append(frame.key_frame)
        # Of interlaced frames, the duration is that of one field.
        last_duration = 0 if frame.interlaced_frame else frame.duration or last_duration
    times = np.frombuffer(pts, np.int64)
    ascending = bool((np.diff(times) > 0).all())
    rate = _measured_rate(stream, times)
    if not timeline.has_pts or not last_duration:
        last_duration = round(1 / (rate * (stream.time_base or Fraction(1, 90_000))))
    return _Frames(
        times,
        np.frombuffer(keyframe, np.bool_),
        tally,
        first,
        last_duration,
        rate,
        has_pts=timeline.has_pts,
        by_pts=timeline.has_pts and ascending and not (lost or timeline.changed),
        jumps=timeline.jumps,
    )


def _tallied(
    container: InputContainer, stream: VideoStream, tally: Tally, beat: Callable[[], None]
) -> Iterator[VideoPacket]:
    try:
        for packet in container.demux(stream):
            beat()
            if packet.size or packet.dts is not None:
                tally.note(packet)
            if packet.size:
                yield packet
    except av.FFmpegError:
        tally.broken = True


def _measured_rate(stream: VideoStream, pts: npt.NDArray[np.int64]) -> Fraction:
    """Of the rates stated by container and bitstream, the one nearest to the measured rate."""
    rate = codec_rate(stream)
    if stream.container.format.flags & NO_TIMESTAMPS or len(pts) < 2 or pts[-1] == pts[0]:
        return rate
    measured = (len(pts) - 1) / (int(pts[-1] - pts[0]) * (stream.time_base or Fraction(1, 90_000)))
    said = (stream.average_rate or rate, stream.guessed_rate or rate, rate)
    rate = min(said, key=lambda each: abs(each - measured))
    # All of them may state fields per second instead of frames.
    return rate / 2 if abs(2 * measured - rate) < rate / 20 else rate


def _declared_frames(container: InputContainer, stream: VideoStream) -> int:
    # An edit list drops samples from the index, never from the count in the header.
    if "mp4" in container.format.name:
        return len(stream.index_entries)
    return stream.frames


def _damage(path: Path, claims: Mp4Claims, stream: VideoStream, frames: _Frames) -> str | None:
    """A sentence that says what is missing, or None. The header's claim counts only if nothing refutes it."""
    container = cast("InputContainer", stream.container)
    name, declared, tally = container.format.name, _declared_frames(container, stream), frames.tally
    if name == "mpegts":
        fault = transport_fault(path, stream.id) if _is_suspect(path, tally) else None
        return None if fault is None else f"The transport stream is cut off or damaged: {fault}"
    if tally.broken:
        return "The file is cut off or damaged: a packet is incomplete"
    if "mp4" in name:
        if claims.cut:
            return "The file is cut off: the head of its last fragment is incomplete"
        missing = declared - tally.count
        if missing > 0 and missing > sum(not entry.size for entry in stream.index_entries):
            return f"The file is cut off: its index lists {declared} frames, it holds {tally.count}"
    elif "matroska" in name:
        with path.open("rb", buffering=0) as file:  # a few bytes here and there
            extent = matroska_extent(file, path.stat().st_size)
        if extent.cut or (extent.claims_more and not _reaches_its_end(stream, frames)):
            return "The file is cut off: its container says that it goes on"
    elif name == "avi" and _lacks_chunks(path, declared, tally):
        return f"The file is cut off or damaged: its container lists {declared} frames, it holds fewer"
    return None


def _lacks_chunks(path: Path, declared: int, tally: Tally) -> bool:
    """Whether an AVI file lacks frames, and it claims to be longer or much of it was not read."""
    size, last = path.stat().st_size, tally.last
    # In AVI a packet's dts is the number of its slot; some slots may be empty.
    slots, position = (0, 0) if last is None else ((last.dts or 0) + 1, last.pos or 0)
    unread = size - position - AVI_INDEX_BYTES * (declared + 64)
    return slots < (declared or NEVER) and (claims_more(path) or unread > size // 8)


def _is_suspect(path: Path, tally: Tally) -> bool:
    """Whether a transport stream may lack packets: a cheap test, before `transport_fault` reads all of it."""
    first, last = tally.first_position or 0, 0 if tally.last is None else tally.last.pos or 0
    steps = [last - first, path.stat().st_size - first]
    return tally.broken or not any(all(step % stride == 0 for step in steps) for stride in STRIDES)


def _reaches_its_end(stream: VideoStream, frames: _Frames) -> bool:
    """Whether the last frame ends at the duration that the file claims."""
    claimed = cast("InputContainer", stream.container).duration
    if claimed is None or stream.time_base is None or not len(frames.pts):
        return False
    end = (int(frames.pts[-1]) + frames.last_duration) * stream.time_base
    return bool(float(end) >= claimed / av.time_base - 0.5 / float(codec_rate(stream)))


def _assemble(
    path: Path, claims: Mp4Claims, stream: VideoStream, frames: _Frames, limits: VideoLimits
) -> VideoIndex:
    damage = _damage(path, claims, stream, frames)
    if not len(frames.pts):
        if damage is not None:
            raise VideoError("truncated", f"{damage}; none of its frames is there. Send the whole file.")
        if frames.tally.count:
            raise VideoError("undecodable", "None of the video's frames can be decoded; repair the video.")
        raise VideoError("no_frames", NO_FRAMES)
    pts, first, context = frames.pts, frames.first, stream.codec_context
    time_base = stream.time_base or Fraction(1, 90_000)
    duration = float((int(pts[-1]) - int(pts[0]) + max(0, frames.last_duration)) * time_base)
    limits.check_duration(duration)
    orientation = UPRIGHT if first is None else Orientation.of(first)
    size: Any = context if first is None else first
    width, height = orientation.size(size.width, size.height)
    limits.check_size(width, height)
    return VideoIndex(
        width=width,
        height=height,
        codec=context.codec.canonical_name,
        average_rate=frames.average_rate,
        time_base=time_base,
        duration=duration,
        pts=pts,
        keyframe=frames.keyframe,
        has_pts=frames.has_pts,
        by_pts=frames.by_pts,
        orientation=orientation,
        sample_aspect_ratio=displayed_aspect(stream, orientation),
        clock_jumps=max(claims.restarts, frames.jumps),
        stream=stream.index,
        damage=f"{damage}; {ADVICE}." if damage else None,
        limits=limits,
    )


def displayed_aspect(stream: VideoStream, orientation: Orientation) -> Fraction:
    """Width of a displayed pixel divided by its height.

    The container's word counts more than the bitstream's, as for players.
    """
    for found in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio):
        if found and found > 0:
            return 1 / found if orientation.swaps_sides else found
    return SQUARE

"""Pass 1 over a video: how many frames there are, when each is shown, and where decoding can begin.

Packets are read, not decoded (except up to the first frame, which alone tells size and rotation), so that a
long video costs little more than reading it, and 9 bytes of memory per frame.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from selsa_server.errors import VideoError
from selsa_server.video.container import CUT_IN_HEAD, NO_FRAMES, VideoLimits, open_video, video_stream
from selsa_server.video.extent import missing_bytes

FIRST_FRAME_PACKETS: Final = 64
DEFAULT_RATE: Final = Fraction(25)
ADVICE: Final = "send the whole file, or use decode=tolerant to detect on the frames that are there"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoIndex:
    """What pass 1 learned of a video of n frames.

    Attributes:
        width: pixels of the first frame as displayed.
        height: pixels of the first frame as displayed.
        codec: FFmpeg's name of the codec.
        average_rate: frames per second, if the container knows.
        time_base: seconds per tick of `pts`.
        duration: seconds from the first frame's start to the last one's end.
        rotation: degrees clockwise applied for display: 0, 90, 180 or 270.
        pts: int64 [n], ascending; made up from the rate where the container has none.
        keyframe: bool [n], whether decoding can begin at the frame.
        has_pts: whether `pts` are the container's.
        stream: index of the stream in the container.
        damage: a sentence that says how the file is cut off, None for a whole one.
        limits: the limits it was checked against.
    """

    width: int
    height: int
    codec: str
    average_rate: Fraction | None
    time_base: Fraction
    duration: float
    rotation: int
    pts: npt.NDArray[np.int64]
    keyframe: npt.NDArray[np.bool_]
    has_pts: bool
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
class _Packets:
    """What is noted of the packets, in the order of the file."""

    pts: "array[int]" = field(default_factory=lambda: array("q"))
    keyframe: bytearray = field(default_factory=bytearray)
    without_pts: int = 0
    demuxed: int = 0
    last_dts: int = -1
    last_duration: int = 0
    broken: bool = False

    def note(self, packet: "Packet[VideoStream]") -> None:
        pts = packet.pts
        self.without_pts += pts is None
        self.pts.append(0 if pts is None else pts)
        self.keyframe.append(packet.is_keyframe)
        self.last_duration = packet.duration or self.last_duration
        self.broken = self.broken or packet.is_corrupt


def index_video(path: Path, limits: VideoLimits, *, beat: Callable[[], None] = lambda: None) -> VideoIndex:
    """Read a video's packets.

    A file that is cut off but has frames is indexed as far as it goes, with `damage` set.

    Args:
        path: the video.
        limits: the largest one that is taken.
        beat: called with every packet, as a sign of progress.

    Raises:
        VideoError: no video, no frames, or over a limit.
    """
    with open_video(path, limits) as container:
        stream = _stream(path, container, limits)
        limits.check_size(stream.codec_context.width, stream.codec_context.height)
        limits.check_count(_declared_frames(container, stream))
        packets = _Packets()
        first = _read(container, stream, packets, limits, beat)
        damage = _damage(path, container, stream, packets)
        if not packets.pts:
            if damage is not None:
                raise VideoError("truncated", f"{damage}; none of its frames is there. Send the whole file.")
            raise VideoError("no_frames", NO_FRAMES)
        return _assemble(stream, packets, first, f"{damage}; {ADVICE}." if damage else None, limits)


def _stream(path: Path, container: InputContainer, limits: VideoLimits) -> VideoStream:
    try:
        return video_stream(container, limits)
    except VideoError as error:
        # An index that is cut off lists no stream, or one without its codec.
        if missing_bytes(path):
            raise VideoError("truncated", CUT_IN_HEAD) from error
        raise


def _read(
    container: InputContainer,
    stream: VideoStream,
    packets: _Packets,
    limits: VideoLimits,
    beat: Callable[[], None],
) -> VideoFrame | None:
    """Note every packet; returns the first frame if one of the first packets gives it."""
    first: VideoFrame | None = None
    for packet in _demux(container, stream, packets):
        beat()
        packets.demuxed += 1
        packets.last_dts = packets.last_dts if packet.dts is None else packet.dts
        if first is None and packets.demuxed <= FIRST_FRAME_PACKETS:
            first = _first_frame(stream, packet)
        if not packet.is_discard and shows_a_frame(stream, packet):
            packets.note(packet)
            limits.check_count(len(packets.pts))
    if first is None and packets.demuxed <= FIRST_FRAME_PACKETS:
        first = _first_frame(stream, None)
    if first is not None:
        limits.check_size(first.width, first.height)
    return first


def _demux(
    container: InputContainer, stream: VideoStream, packets: _Packets
) -> Iterator["Packet[VideoStream]"]:
    try:
        for packet in container.demux(stream):
            if packet.size > 0:  # the last one is empty; it asks the decoder for what it still holds
                yield packet
    except av.FFmpegError:
        packets.broken = True


def _first_frame(stream: VideoStream, packet: "Packet[VideoStream] | None") -> VideoFrame | None:
    """The first frame, if this packet completes it. That it does not decode is found in pass 2."""
    try:
        return next(iter(stream.decode(packet)), None)
    except (av.FFmpegError, ValueError):
        return None


def shows_a_frame(stream: VideoStream, packet: "Packet[VideoStream]") -> bool:
    """False for packets from which no frame comes: VP8's hidden frames, MPEG-4's empty placeholders."""
    name = stream.codec_context.name
    if name in ("vp8", "libvpx"):
        return bool(bytes(memoryview(packet)[:1])[0] & 0x10)  # RFC 6386 section 9.1, show_frame
    return not (name == "mpeg4" and packet.size <= 7 and not packet.is_keyframe)


def _declared_frames(container: InputContainer, stream: VideoStream) -> int:
    # An edit list drops samples from the index, never from the count in the header.
    if "mp4" in container.format.name:
        return len(stream.index_entries)
    return stream.frames


def _damage(path: Path, container: InputContainer, stream: VideoStream, packets: _Packets) -> str | None:
    missing = missing_bytes(path)
    if missing:
        return f"The file is cut off: its container says that there are {missing} bytes more"
    declared, found = _declared_frames(container, stream), packets.demuxed
    if container.format.name == "avi":
        found = packets.last_dts + 1  # it counts frames; one that the recorder dropped has no packet
    elif "mp4" not in container.format.name:
        declared = 0  # a guess, or not mended when the recording ended early
    if found < declared:
        return f"The file is cut off or damaged: its container lists {declared} frames, it holds {found}"
    if packets.broken:
        return "The file is cut off or damaged: a packet is incomplete"
    return None


def _assemble(
    stream: VideoStream, packets: _Packets, first: VideoFrame | None, damage: str | None, limits: VideoLimits
) -> VideoIndex:
    # AVI stores no order of display; with B-frames what FFmpeg makes up for it is wrong.
    guessed = stream.container.format.name == "avi" and bool(stream.codec_context.has_b_frames)
    has_pts = packets.without_pts == 0 and not guessed
    rate = stream.average_rate or None
    time_base = stream.time_base or Fraction(1, 90_000)
    pts = np.frombuffer(packets.pts, np.int64)
    keyframe = np.frombuffer(packets.keyframe, np.bool_)
    if has_pts:
        order = np.argsort(pts, kind="stable")
        pts, keyframe = pts[order], keyframe[order]
    else:
        ticks = 1 / ((rate or stream.guessed_rate or DEFAULT_RATE) * time_base)
        pts = np.rint(np.arange(len(pts)) * float(ticks)).astype(np.int64)
    tick_count = int(pts[-1]) - int(pts[0]) + max(0, packets.last_duration)
    duration = float(tick_count * time_base)
    limits.check_duration(duration)
    rotation = 0 if first is None else clockwise_rotation(first)
    size: Any = stream.codec_context if first is None else first
    width, height = (size.height, size.width) if rotation in (90, 270) else (size.width, size.height)
    return VideoIndex(
        width=width,
        height=height,
        codec=stream.codec_context.codec.canonical_name,
        average_rate=rate,
        time_base=time_base,
        duration=duration,
        rotation=rotation,
        pts=pts,
        keyframe=keyframe,
        has_pts=has_pts,
        stream=stream.index,
        damage=damage,
        limits=limits,
    )


def clockwise_rotation(frame: VideoFrame) -> int:
    """Degrees clockwise by which a frame is turned for display: 0, 90, 180 or 270."""
    return round(-frame.rotation / 90) * 90 % 360

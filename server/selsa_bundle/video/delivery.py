"""What a decoder delivers, and when each frame is shown: the same for files and live streams."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from selsa_bundle.video.nal import IDR, fills, has_lengths, unit_types

# Flags of FFmpeg's demuxers that PyAV has no names for: no time stamps at all (elementary streams), and a
# clock that may leap (transport and program streams).
NO_TIMESTAMPS: Final = 0x80
CLOCK_MAY_LEAP: Final = 0x200
# The clock of transport and program streams has 33 bits.
CLOCK_TICKS: Final = 1 << 33
LEAP_SECONDS: Final = 10
DEFAULT_RATE: Final = Fraction(25)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Stands for a frame that was lost; `pts` is that of the packet that did not decode."""

    pts: int | None


def deliver(
    packets: Iterable["Packet[VideoStream]"], stream: VideoStream
) -> Iterator[VideoFrame | Undecodable]:
    """Decode packets, and ask the decoder in the end for what it still holds.

    A stream may begin in the middle of a group of pictures, or with an open one: what cannot be decoded there
    is no damage. Each part of a joined stream is such a beginning, and the parts know nothing of each other.
    """
    joints = _Joints(stream)
    codec = stream.codec_context.codec.canonical_name
    beginning, sized = _Beginning(codec), has_lengths(stream.codec_context.extradata or b"", codec)
    lost: int | None = None
    for packet in itertools.chain(packets, (None,)):
        if packet is not None:
            if joints.before(packet):
                beginning = _Beginning(codec)
                # These decoders would mix pictures of the two recordings.
                if codec == "hevc" or (codec == "h264" and packet.is_keyframe):
                    yield from _drained(stream)
                    stream.codec_context.flush_buffers()
            beginning.look(packet)
        try:
            frames = stream.decode(packet)
        except (av.FFmpegError, ValueError):
            pts = None if packet is None else packet.pts
            broken = packet is not None and sized and not fills(packet)
            if broken or not beginning.excuses(pts):
                lost = pts
                yield Undecodable(pts)
            continue
        for frame in frames:
            yield from beginning.missed(frame)
            # Some decoders report an error and give what they have of the frame later.
            if not frame.is_corrupt or frame.pts is None or frame.pts != lost:
                yield frame


def _drained(stream: VideoStream) -> Iterator[VideoFrame]:
    """Flush the decoder."""
    try:
        yield from stream.decode(None)
    except (av.FFmpegError, ValueError):
        return


class _Beginning:
    """The start of a stream, or of a part of one: which decoding errors do not count as damage.

    These are all errors before the first random access point, and those of its leading pictures. If H.264
    does not start with an IDR picture, it may also order the removal of reference pictures that are missing:
    FFmpeg reports an error for the packet and still gives the frame.
    """

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._started = self._open = False
        self._access: int | None = None  # time stamp of the random access point
        self._held: list[int] = []  # time stamps of packets with an error whose frames may still come

    def look(self, packet: "Packet[VideoStream]") -> None:
        """Take note of the next packet."""
        if not packet.is_keyframe:
            return
        self._open = not self._started and self._codec == "h264" and IDR not in unit_types(packet, "h264")
        if not self._started:
            self._started, self._access = True, packet.pts

    def excuses(self, pts: int | None) -> bool:
        """Whether an error at the packet with this time stamp is no damage, or cannot be judged yet."""
        if not self._started:
            return True
        if pts is None or self._access is None:
            return False
        if self._open and pts >= self._access:
            self._held.append(pts)
        return self._open or pts < self._access

    def missed(self, frame: VideoFrame) -> Iterator[Undecodable]:
        """The frames that should have come before this one and did not."""
        self._started = True
        if self._held and frame.pts is not None:
            for pts in sorted(self._held):
                if pts < frame.pts:
                    yield Undecodable(pts)
            self._held = [pts for pts in self._held if pts > frame.pts]


class _Joints:
    """Finds the joints of a joined stream, where the clock restarts or leaps, or counters jump."""

    def __init__(self, stream: VideoStream) -> None:
        container = stream.container.format
        ticks = 1 / (stream.time_base or Fraction(1, 90_000))
        self._leap = LEAP_SECONDS * ticks if container.flags & CLOCK_MAY_LEAP else None
        # Decoding time stamps of program streams are partly guessed.
        self._slack = ticks if container.name == "mpeg" else 0
        self._transport = container.name == "mpegts"
        self._last: int | None = None
        self._corrupt = False

    def before(self, packet: "Packet[VideoStream]") -> bool:
        """Whether a joint lies before this packet."""
        dts, last = packet.dts, self._last
        step = 0 if dts is None or last is None else dts - last
        found = step < -self._slack or (self._leap is not None and step > self._leap)
        found = found or (self._transport and self._corrupt and packet.is_keyframe)
        self._last, self._corrupt = last if dts is None else dts, packet.is_corrupt
        return found


def error_detection(codec: str) -> dict[str, str]:
    """Options of a decoder with which it reports damage and does not conceal it.

    With "explode", MPEG-2 fails at each second field of field pictures, also of whole ones. Without it, the
    decoder marks damaged frames as corrupt.
    """
    return {"err_detect": "crccheck" if codec == "mpeg2video" else "crccheck+explode"}


def codec_rate(stream: VideoStream) -> Fraction:
    """Frames per second that the bitstream says, else the container."""
    return stream.codec_context.framerate or stream.guessed_rate or stream.average_rate or DEFAULT_RATE


class Timeline:
    """Gives each delivered frame its time, ascending, in ticks of the stream's time base.

    That is its time stamp, with these exceptions. Elementary streams have none: the bitstream's rate counts.
    AVI has no display time stamps: a frame takes that of the chunk after which it comes, from 0 on.
    Where the clock restarts, or leaps in a transport stream, times continue from the frame before. The
    overflow of a 33-bit clock is undone.

    Attributes:
        has_pts: whether times are made from the container's time stamps of display.
        jumps: how often the clock restarted or leapt.
        changed: whether a frame's time is not its time stamp.
    """

    def __init__(self, stream: VideoStream) -> None:
        flags = stream.container.format.flags
        self._avi = stream.container.format.name == "avi"
        self.has_pts = not (flags & NO_TIMESTAMPS or self._avi)
        self._bare = bool(flags & NO_TIMESTAMPS)
        self._wraps = stream.container.format.name in ("mpegts", "mpeg")
        time_base = stream.time_base or Fraction(1, 90_000)
        self._leap = round(LEAP_SECONDS / time_base) if flags & CLOCK_MAY_LEAP else None
        self._step = 1 / (codec_rate(stream) * time_base)
        self._last = self._last_dts = -(1 << 63)
        self._anchor, self._steps = Fraction(0), 0  # invented times are counted from here
        self._offset = 0
        self._started = False
        self.jumps = 0
        self.changed = False

    def place(self, frame: VideoFrame | Undecodable) -> int:
        """The time of the next frame."""
        stamp = None
        if isinstance(frame, VideoFrame) and not self._bare:
            stamp = frame.dts if self._avi else frame.pts
        dts = frame.dts if isinstance(frame, VideoFrame) else None
        time = self._next() if stamp is None else self._stamped(stamp, dts)
        self.changed = self.changed or time != stamp
        self._started, self._last = True, time
        self._last_dts = self._last_dts if dts is None else dts
        return time

    def _stamped(self, stamp: int, dts: int | None) -> int:
        if not self._started:
            # FFmpeg gives negative times to frames before an overflow of the clock.
            self._offset = -stamp if self._avi else CLOCK_TICKS if self._wraps and stamp < 0 else 0
        time = stamp + self._offset
        if self._started and self._wraps and time < self._last - CLOCK_TICKS // 2:
            self._offset += CLOCK_TICKS
            time += CLOCK_TICKS
        if self._started and time < self._last:
            if dts is None or dts < self._last_dts:
                return self._jump(stamp)
            return self._next()  # a wrong time stamp; decoding order shows that the clock did not restart
        if self._started and self._leap is not None and time - self._last > self._leap:
            return self._jump(stamp)
        self._anchor, self._steps = Fraction(time), 0
        return time

    def _jump(self, stamp: int) -> int:
        self.jumps += 1
        time = self._next()
        self._offset = time - stamp
        return time

    def _next(self) -> int:
        if self._started:
            self._steps += 1
        return max(self._last + 1, round(self._anchor + self._steps * self._step))

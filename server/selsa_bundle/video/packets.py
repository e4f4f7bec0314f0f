"""Pass 1 over an ordinary video: its packets, read and not decoded, each of which is one frame.

In other files a packet is no frame, two frames or half a frame, or time stamps are not in order. This module
detects such files (`read_packets` returns None), and `frames` decodes them instead.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from selsa_bundle.video.delivery import CLOCK_MAY_LEAP, LEAP_SECONDS, NO_TIMESTAMPS
from selsa_bundle.video.nal import breaks_link, has_picture

FIRST_FRAME_PACKETS: Final = 64
NEVER: Final = 1 << 62
PROGRESSIVE: Final = 1  # AVFieldOrder
# Packets up to this size may contain no picture: a placeholder for a picture that the packet before contains
# (MPEG-4), or only a delimiter or an end of stream (the others).
SMALL_PACKETS: Final = {"mpeg4": 8, "h264": 12, "hevc": 12}

VideoPacket: TypeAlias = "Packet[VideoStream]"


@dataclass(slots=True)
class Tally:
    """Facts about all packets, to decide later whether some are missing.

    Attributes:
        count: samples of the container, those without bytes too.
        first_position: offset in the file of the first packet.
        last: the last packet that may give a frame.
        broken: whether a packet is incomplete or could not be read.
        longest_step: ticks between two packets in the order of decoding.
    """

    count: int = 0
    first_position: int | None = None
    last: "VideoPacket | None" = None
    broken: bool = False
    longest_step: int = 0

    def note(self, packet: VideoPacket) -> None:
        """Note a packet."""
        self.count += 1
        if packet.dts is not None and self.last is not None and self.last.dts is not None:
            self.longest_step = max(self.longest_step, packet.dts - self.last.dts)
        self.first_position = packet.pos if self.first_position is None else self.first_position
        self.last = packet if packet.size else self.last
        self.broken = self.broken or packet.is_corrupt


@dataclass(slots=True)
class Packets:
    """Packets that are frames, in the order of the file.

    Attributes:
        pts: ticks.
        keyframe: whether decoding can begin there.
        tally: of all packets.
        first: the first frame, if one of the first packets gives it.
    """

    pts: "array[int]" = field(default_factory=lambda: array("q"))
    keyframe: bytearray = field(default_factory=bytearray)
    tally: Tally = field(default_factory=Tally)
    first: VideoFrame | None = None

    def ordered(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """`pts` and `keyframe` in the order of display."""
        pts = np.frombuffer(self.pts, np.int64)
        order = np.argsort(pts, kind="stable")
        return pts[order], np.frombuffer(self.keyframe, np.bool_)[order]


def read_packets(container: InputContainer, stream: VideoStream, beat: Callable[[], None]) -> Packets | None:
    """Read the packets; None if they are not one to one with the frames that the decoder gives."""
    if not one_frame_each(container, stream):
        return None
    packets = Packets()
    try:
        if not _note_all(container, stream, packets, beat):
            return None
    except av.FFmpegError:
        packets.tally.broken = True
    packets.tally.count += len(packets.pts)
    begins = not packets.keyframe or bool(packets.keyframe[0])
    may_be_negative = container.format.name != "mpegts"
    return packets if begins and _in_order(packets.pts, may_be_negative=may_be_negative) else None


def _note_all(  # noqa: C901 - one function, because calls per packet would slow down pass 1
    container: InputContainer, stream: VideoStream, packets: Packets, beat: Callable[[], None]
) -> bool:
    """Note every packet; False as soon as packets are no frames."""
    tally, note_pts, note_keyframe = packets.tally, packets.pts.append, packets.keyframe.append
    name, codec = container.format.name, stream.codec_context.name
    shows, hevc = SHOWS_A_FRAME.get(codec), codec == "hevc"
    small = SMALL_PACKETS.get(codec, 0)
    ticks = round(1 / (stream.time_base or Fraction(1, 90_000)))
    # Decoding time stamps of program streams are partly guessed.
    slack = ticks if name == "mpeg" else 0
    leap = LEAP_SECONDS * ticks if container.format.flags & CLOCK_MAY_LEAP else NEVER
    probing = FIRST_FRAME_PACKETS  # packets that may still give the first frame
    last_dts: int | None = None
    longest = 0
    for packet in container.demux(stream):
        beat()
        size, dts = packet.size, packet.dts
        if not size:
            # An empty sample, or the last, empty packet, which flushes the decoder.
            tally.count += dts is not None
            continue
        if dts is not None:
            step = 0 if last_dts is None else dts - last_dts
            if not -slack <= step < leap:
                return False  # the clock restarts or leaps
            if step > longest:
                longest = tally.longest_step = step
            last_dts = dts
        if probing:
            tally.first_position = packet.pos if probing == FIRST_FRAME_PACKETS else tally.first_position
            packets.first = first_frame(stream, packet)
            probing = 0 if packets.first is not None else probing - 1
        if packet.is_corrupt:
            if name == "mpegts":
                return False  # it may be the joint of two recordings
            tally.broken = True
        if packet.is_discard:
            if packets.pts:
                return False  # only the beginning may be left out
        elif shows is None or shows(packet):
            pts, key = packet.pts, packet.is_keyframe
            if pts is None or (size <= small and not _is_picture(packet, codec)):
                return False
            if hevc and key and breaks_link(packet):
                return False
            note_pts(pts)
            note_keyframe(key)
            tally.last = packet
            continue
        tally.count += 1
    if probing and packets.first is None:
        packets.first = first_frame(stream, None)
    return True


def _is_picture(packet: VideoPacket, codec: str) -> bool:
    """Whether a small packet is more than a placeholder, a delimiter or the end of a stream."""
    return codec != "mpeg4" and has_picture(packet, codec)


def _in_order(pts: "array[int]", *, may_be_negative: bool) -> bool:
    """Whether display begins with the first packet, and no two frames share a time."""
    if not pts:
        return True
    stamps = np.frombuffer(pts, np.int64)
    least = int(stamps.min())
    if least < pts[0] or (least < 0 and not may_be_negative):
        return False
    return bool((np.diff(np.sort(stamps)) > 0).all())


def first_frame(stream: VideoStream, packet: "VideoPacket | None") -> VideoFrame | None:
    """The first frame, if this packet completes it. A damaged one is reported by pass 2."""
    try:
        return next(iter(stream.decode(packet)), None)
    except (av.FFmpegError, ValueError):
        return None


def one_frame_each(container: InputContainer, stream: VideoStream) -> bool:
    """Whether container and codec let one packet be one frame."""
    context = stream.codec_context
    if container.format.flags & NO_TIMESTAMPS:
        return False
    if container.format.name == "avi" and not context.codec.intra_only:
        return False  # it has no order of display, and packed pictures
    codec = context.codec.canonical_name
    if codec in ("h264", "mpeg2video") and context.field_order != PROGRESSIVE:
        return False  # pictures may be coded as two fields
    return codec != "h264" or not may_have_fields(context.extradata or b"")


def _vp8_shows(packet: VideoPacket) -> bool:
    return bool(bytes(memoryview(packet)[:1])[0] & 0x10)  # RFC 6386 section 9.1, show_frame


def _vp9_shows(packet: VideoPacket) -> bool:
    view = memoryview(packet)
    # VP9 bitstream specification section 6.2: show_existing_frame, show_frame; annex B: superframes, of which
    # the last frame is shown.
    return bool(view[0] & 0x0A) or view[0] & 0x30 == 0x30 or view[-1] & 0xE0 == 0xC0


SHOWS_A_FRAME: Final[dict[str, Callable[[VideoPacket], bool]]] = {
    "vp8": _vp8_shows,
    "libvpx": _vp8_shows,
    "vp9": _vp9_shows,
    "libvpx-vp9": _vp9_shows,
}


def may_have_fields(extradata: bytes) -> bool:
    """Whether an H.264 sequence parameter set allows pictures coded as fields; False if there is none.

    Args:
        extradata: of the codec, with start codes or as in MP4 (avcC).
    """
    begin = extradata.find(b"\0\0\1")
    sets = [extradata[8:]] if extradata[:1] == b"\1" else [extradata[begin + 3 :]] if begin >= 0 else []
    while begin >= 0 and (begin := extradata.find(b"\0\0\1", begin + 3)) >= 0:
        sets.append(extradata[begin + 3 :])
    return any(_interlaced(each) for each in sets if each and each[0] & 0x1F == 7)


def _interlaced(parameter_set: bytes) -> bool:
    """ITU-T H.264 section 7.3.2.1.1, up to frame_mbs_only_flag."""
    data = parameter_set[1:256].replace(b"\0\0\3", b"\0\0")
    bits = _Bits(int.from_bytes(data + bytes(256), "big"), 8 * (len(data) + 256))
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135):
        chroma = bits.golomb()
        if chroma == 3:
            bits.take(1)
        bits.golomb()
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            for number in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(min(255, bits.golomb())):
            bits.golomb()
    bits.golomb()
    bits.take(1)
    bits.golomb()
    bits.golomb()
    return bits.take(1) == 0


def _skip_scaling_list(bits: "_Bits", size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            following = (last + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
        last = following or last


@dataclass(slots=True)
class _Bits:
    """Bits of a number, the highest first; zeros after the last."""

    value: int
    left: int

    def take(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        self.left = max(0, self.left - count)
        return self.value >> self.left & ((1 << count) - 1)

    def golomb(self) -> int:
        """An unsigned Exp-Golomb code."""
        zeros = 0
        while zeros < 32 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

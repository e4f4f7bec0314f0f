"""NAL units of H.264 and H.265 packets: what kinds of pictures are in them."""

from typing import TYPE_CHECKING, Final

from av.packet import Packet

if TYPE_CHECKING:
    from av.video.stream import VideoStream

START_CODE: Final = b"\0\0\1"
IDR: Final = 5  # of H.264, as are 1 to 4 for other slices
BLA: Final = range(16, 19)  # of H.265; all slices are below 32
# First bytes of units: slices of pictures that are no reference (nal_ref_idc 0; TRAIL_N, RADL_N, RASL_N), and
# delimiters, filler and SEI.
NO_REFERENCE: Final = {
    "h264": (frozenset({1}), frozenset({6, 9, 12})),
    "hevc": (frozenset({0, 12, 16}), frozenset({70, 76, 78, 80})),
}
HEAD_BYTES: Final = 1 << 16  # of a packet that is looked at


def unit_types(packet: "Packet[VideoStream]", codec: str) -> list[int]:
    """Types of the units at the beginning of a packet, with start codes or with lengths of 4 bytes."""
    return [_type(head, codec) for head in _heads(packet)]


def _heads(packet: "Packet[VideoStream]") -> list[int]:
    """The first byte of each of these units."""
    data = bytes(memoryview(packet)[:HEAD_BYTES])
    found: list[int] = []
    if data.startswith((START_CODE, b"\0" + START_CODE)):
        at = data.find(START_CODE) + 3
        while 3 <= at < len(data):
            found.append(data[at])
            at = data.find(START_CODE, at) + 3
    else:
        at = 4
        while at < len(data):
            found.append(data[at])
            at += int.from_bytes(data[at - 4 : at], "big") + 4
    return found


def has_lengths(extradata: bytes, codec: str) -> bool:
    """Whether units of H.264 and H.265 begin with their length in 4 bytes, not with a start code."""
    at = {"h264": 4, "hevc": 21}.get(codec, len(extradata))
    return extradata[:1] == b"\1" and extradata[at : at + 1] != b"" and extradata[at] & 3 == 3


def fills(packet: "Packet[VideoStream]") -> bool:
    """Whether units that begin with their length end where the packet ends."""
    data, at = memoryview(packet), 0
    while at + 4 < len(data):
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return at == len(data)


def tells_disposable(extradata: bytes, codec: str) -> bool:
    """Whether `is_disposable` can judge the packets of a stream.

    In H.265 with temporal layers, pictures of a higher layer may refer to a picture that is marked as no
    reference. The configuration record of MP4 and Matroska (hvcC) has the number of layers.
    """
    if codec == "hevc":
        return has_lengths(extradata, codec) and extradata[21] >> 3 & 7 == 1
    return codec == "h264" and (extradata[:1] != b"\1" or has_lengths(extradata, codec))


def is_disposable(packet: "Packet[VideoStream]", codec: str) -> bool:
    """Whether no other picture refers to the packet's picture, and the packet has nothing else in it."""
    heads, (slices, others) = set(_heads(packet)), NO_REFERENCE[codec]
    return not heads.isdisjoint(slices) and heads <= slices | others


def _type(head: int, codec: str) -> int:
    return head & 0x1F if codec == "h264" else head >> 1 & 0x3F


def has_picture(packet: "Packet[VideoStream]", codec: str) -> bool:
    """Whether the packet has a slice of a picture; also True if its units cannot be parsed."""
    types = unit_types(packet, codec)
    return not types or any(1 <= each <= IDR if codec == "h264" else each < 32 for each in types)


def breaks_link(packet: "Packet[VideoStream]") -> bool:
    """Whether an H.265 key frame is a BLA picture: pictures after it may refer to missing ones."""
    return any(each in BLA for each in unit_types(packet, "hevc"))

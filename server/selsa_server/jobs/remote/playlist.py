"""HLS playlists (RFC 8216) of finished videos: the segments that together are one file."""

import re
from dataclasses import dataclass, field
from typing import Final

from selsa_server.jobs.remote.addresses import AddressRules, RemoteAddress, RemoteError

MAGIC: Final = b"#EXTM3U"
MAX_PLAYLIST_BYTES: Final = 4 << 20
MAX_SEGMENTS: Final = 10_000
# What such a segment is, is no part of one file that a decoder reads in order.
_UNSUPPORTED: Final = {
    "#EXT-X-GAP": "has a segment that is missing (EXT-X-GAP)",
    "#EXT-X-I-FRAMES-ONLY": "lists key frames only",
    "#EXT-X-PART": "is a live stream of low latency",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a video.

    Attributes:
        address: where it is.
        span: offset and length in bytes of the piece in what is there; None: all of it.
    """

    address: RemoteAddress
    span: tuple[int, int] | None = None

    def __str__(self) -> str:
        """The segment without its signature, by which a later playlist's segments are compared."""
        return f"{self.address} {self.span or ''}"


@dataclass(slots=True)
class _Reading:
    """State between the lines of a playlist."""

    variants: list[tuple[int, str]] = field(default_factory=list)
    bandwidth: int | None = None
    segments: list[Segment] = field(default_factory=list)
    span: tuple[int | None, int] | None = None
    ends: dict[str, int] = field(default_factory=dict)
    has_map: bool = False
    finished: bool = False


def best_variant(text: bytes, base: RemoteAddress, rules: AddressRules) -> RemoteAddress | None:
    """The media playlist of the largest bandwidth, if `text` lists several; None if it lists segments.

    Raises:
        RemoteError: it is no playlist, or an address is not allowed.
    """
    reading = _read(text, base, None)
    if not reading.variants:
        return None
    return rules.follow(base, max(reading.variants, key=lambda each: each[0])[1])


def segments_of(text: bytes, base: RemoteAddress, rules: AddressRules) -> list[Segment]:
    """The segments of a media playlist in order, the initialisation segment first if there is one.

    Args:
        text: the playlist.
        base: where it is.
        rules: for the addresses of all segments, which are checked here, before the first is fetched.

    Raises:
        RemoteError: it is no playlist, not finished, encrypted, or of another kind that is not one file; or
            an address is not allowed.
    """
    reading = _read(text, base, rules)
    if not reading.finished:
        raise _refused(base, "is not finished (it has no EXT-X-ENDLIST); live streams go to /stream")
    if not reading.segments:
        raise _refused(base, "has no segments")
    return reading.segments


def _read(text: bytes, base: RemoteAddress, rules: AddressRules | None) -> _Reading:
    lines = text.decode(errors="replace").splitlines()
    if not lines or lines[0].strip() != MAGIC.decode():
        raise _refused(base, "is no playlist, or one that is cut off")
    reading = _Reading()
    for line in (line.strip() for line in lines[1:]):
        if line.startswith("#EXT"):
            _read_tag(reading, line, base, rules)
        elif line and not line.startswith("#"):
            _read_address(reading, line, base, rules)
    return reading


def _read_tag(reading: _Reading, line: str, base: RemoteAddress, rules: AddressRules | None) -> None:
    name, _, value = line.partition(":")
    if name in _UNSUPPORTED:
        raise _refused(base, _UNSUPPORTED[name])
    if name == "#EXT-X-ENDLIST":
        reading.finished = True
    elif name == "#EXT-X-STREAM-INF":
        reading.bandwidth = _number(_attribute(value, "BANDWIDTH"), base)
    elif name == "#EXT-X-BYTERANGE":
        reading.span = _span(value, base)
    elif name == "#EXT-X-KEY" and _attribute(value, "METHOD") != "NONE":
        raise _refused(base, "is encrypted (EXT-X-KEY)")
    elif name == "#EXT-X-DISCONTINUITY" and reading.has_map:
        raise _refused(base, "joins fragments of several clocks (EXT-X-DISCONTINUITY after EXT-X-MAP)")
    elif name == "#EXT-X-MAP" and rules is not None:
        _read_map(reading, value, base, rules)


def _read_map(reading: _Reading, value: str, base: RemoteAddress, rules: AddressRules) -> None:
    span = _attribute(value, "BYTERANGE")
    at = None if span is None else _span(span, base)
    found = Segment(
        rules.follow(base, _attribute(value, "URI") or ""), None if at is None else (at[0] or 0, at[1])
    )
    if reading.segments and reading.segments[0] != found:
        raise _refused(base, "has more than one initialisation segment (EXT-X-MAP)")
    if not reading.segments:
        reading.segments.append(found)
    reading.has_map = True


def _read_address(reading: _Reading, line: str, base: RemoteAddress, rules: AddressRules | None) -> None:
    if reading.bandwidth is not None:
        reading.variants.append((reading.bandwidth, line))
        reading.bandwidth = None
    elif rules is not None:
        if len(reading.segments) >= MAX_SEGMENTS:
            raise _refused(base, f"has more than {MAX_SEGMENTS} segments")
        span = None
        if reading.span is not None:
            # Without an offset, the piece follows the one before it in the same file.
            offset, length = reading.span
            span = (reading.ends.get(line, 0) if offset is None else offset, length)
            reading.ends[line] = sum(span)
            reading.span = None
        reading.segments.append(Segment(rules.follow(base, line), span))


def _attribute(value: str, name: str) -> str | None:
    # Quoted values may hold commas and what looks like other attributes.
    found = dict(re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)', value)).get(name)
    return None if found is None else found.strip('"')


def _span(value: str, base: RemoteAddress) -> tuple[int | None, int]:
    length, _, offset = value.strip().partition("@")
    return (_number(offset, base) if offset else None), _number(length, base)


def _number(text: str | None, base: RemoteAddress) -> int:
    if text is None or not re.fullmatch(r"[0-9]{1,15}", text.strip()):
        raise _refused(base, f"has {str(text)[:40]!r} in place of a number")
    return int(text)


def _refused(base: RemoteAddress, why: str) -> RemoteError:
    return RemoteError("unsupported_playlist", f"The playlist {base} {why}.")

"""What the header list of an AVI file claims."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from selsa_server.video.declared.track import DeclaredTrack

HEADER_LIST: Final = 12  # where it begins: right after `RIFF`, the size and `AVI `
MAX_BYTES: Final = 1 << 20
MAX_CHUNKS: Final = 1000


def avi_tracks(file: BinaryIO, size: int) -> tuple[DeclaredTrack, ...] | None:
    """The video tracks of a file of which `size` bytes are there; None when more of it may tell."""
    file.seek(HEADER_LIST)
    head = file.read(12)
    length = int.from_bytes(head[4:8], "little")
    if head[:4] != b"LIST" or head[8:] != b"hdrl" or length > MAX_BYTES:
        return ()
    if HEADER_LIST + 8 + length > size:
        return None
    lists = (body[4:] for kind, body in _chunks(file.read(length - 4)) if kind == b"LIST")
    streams = [dict(_chunks(body)) for body in lists]
    return tuple(_track(each) for each in streams if each.get(b"strh", b"")[:4] == b"vids")


def _track(stream: dict[bytes, bytes]) -> DeclaredTrack:
    header, picture = stream[b"strh"], stream.get(b"strf", b"")
    scale, rate, frames = (int.from_bytes(header[at : at + 4], "little") for at in (20, 24, 32))
    width, height = (int.from_bytes(picture[at : at + 4], "little", signed=True) for at in (4, 8))
    # A negative height is a picture stored from top to bottom.
    return DeclaredTrack(
        width=abs(width), height=abs(height), frames=frames, seconds=frames * scale / rate if rate else 0.0
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    for _ in range(MAX_CHUNKS):
        kind, length = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        if len(kind) < 4 or position + 8 + length > len(data):
            return
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2

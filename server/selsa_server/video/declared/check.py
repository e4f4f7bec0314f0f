"""What the head of a file claims of its video, read from the first part of it while the rest is on its way.

Only what a container says in so many words, from a few bytes and without a decoder. It is a claim and not
what `video_index` finds, so it can be used to refuse a file that is far over a limit and for nothing else.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from selsa_server.errors import VideoError
from selsa_server.video.container import VideoLimits
from selsa_server.video.declared.avi import avi_tracks
from selsa_server.video.declared.matroska import matroska_tracks
from selsa_server.video.declared.mp4 import mp4_tracks
from selsa_server.video.declared.track import DeclaredTrack
from selsa_server.video.extent import is_matroska, is_mp4

# How far over a limit a claim has to be. Other streams of a file may last longer than its video, sizes are
# stated with and without the padding of the codec's blocks, and the last word is what `video_index` finds.
SLACK: Final = 1.1
Y4M_HEAD: Final = re.compile(rb"YUV4MPEG2(?: [^ \n]*)*? W([0-9]{1,9}) H([0-9]{1,9})[ \n]")


def declared_tracks(path: Path) -> tuple[DeclaredTrack, ...] | None:
    """What the first bytes of a file say of its video tracks.

    Args:
        path: the file as far as it has come.

    Returns:
        None when more of the file may tell; nothing for a format, or a layout, that does not say.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if is_mp4(path):
            return mp4_tracks(file, size)
        if is_matroska(path):
            return matroska_tracks(file, size)
        return _by_magic(file, size)


def check_declared(tracks: tuple[DeclaredTrack, ...], limits: VideoLimits) -> None:
    """Refuse a file each of whose video tracks claims to be far over a limit.

    Raises:
        VideoError: they all do; it is the first one's.
    """
    refusals = [_refusal(track, limits) for track in tracks]
    if refusals and refusals[0] is not None and all(refusals):
        raise refusals[0]


def _refusal(track: DeclaredTrack, limits: VideoLimits) -> VideoError | None:
    try:
        if track.width * track.height > SLACK * limits.max_pixels:
            limits.check_size(track.width, track.height)
        if track.frames > SLACK * limits.max_frames:
            limits.check_count(track.frames)
        if track.seconds > SLACK * limits.max_duration:
            limits.check_duration(track.seconds)
    except VideoError as error:
        return error
    return None


def _by_magic(file: BinaryIO, size: int) -> tuple[DeclaredTrack, ...] | None:
    head = file.read(256)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return avi_tracks(file, size)
    for magic, read in _FIXED.items():
        if head.startswith(magic) and len(head) >= 32:
            return (read(head),)
    return ()


def _y4m(head: bytes) -> DeclaredTrack:
    found = Y4M_HEAD.match(head)
    return DeclaredTrack(width=int(found[1]), height=int(found[2])) if found else DeclaredTrack()


def _ivf(head: bytes) -> DeclaredTrack:
    return DeclaredTrack(
        width=int.from_bytes(head[12:14], "little"),
        height=int.from_bytes(head[14:16], "little"),
        frames=int.from_bytes(head[24:28], "little"),
    )


def _gif(head: bytes) -> DeclaredTrack:
    return DeclaredTrack(
        width=int.from_bytes(head[6:8], "little"), height=int.from_bytes(head[8:10], "little")
    )


def _png(head: bytes) -> DeclaredTrack:
    return DeclaredTrack(width=int.from_bytes(head[16:20], "big"), height=int.from_bytes(head[20:24], "big"))


# Formats whose claims stand at fixed places.
_FIXED: Final[dict[bytes, Callable[[bytes], DeclaredTrack]]] = {
    b"YUV4MPEG2 ": _y4m,
    b"DKIF": _ivf,
    b"GIF8": _gif,
    b"\x89PNG": _png,
}

"""The input of a live stream: sent unchanged if the server can read it forward, otherwise remuxed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

from selsa_client.cli.inputs import VideoInput
from selsa_client.http.upload import OpenableVideo, VideoSource
from selsa_client.live.protocol import PIECE_BYTES, LiveFeed
from selsa_client.wire.errors import InputError
from selsa_server.schema.stream import LiveContainer

_MP4_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"})
_EBML: Final = b"\x1a\x45\xdf\xa3"
_TS_SYNC: Final = b"\x47"
_TS_PACKET: Final = 188
# Bytes that identify a container.
_HEAD_BYTES: Final = _TS_PACKET + 1


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@contextmanager
def live_feed(
    video: VideoInput, source: Callable[[VideoInput], AbstractContextManager[VideoSource]]
) -> Iterator[LiveFeed]:
    """A video as a live stream.

    Args:
        source: opens it, unless it is a camera or an rtsp address.

    Raises:
        InputError: it cannot be read.
        MissingPackageError: it has to be remuxed, and PyAV is not installed.
    """
    with ExitStack() as stack:
        if video.kind == "camera":
            from selsa_client.cli import camera

            yield LiveFeed("jpeg", camera.camera_images(video.address))
        elif video.kind == "rtsp":
            from selsa_client.cli.remux import remuxed, rtsp_options

            yield remuxed(video.address, video.name, rtsp_options())
        else:
            file = _Peekable(_opened(stack.enter_context(source(video)), stack))
            path = Path(video.address) if video.kind == "file" else None
            container = recognised(file.peek(_HEAD_BYTES))
            # A pipe cannot be read twice; the server refuses one whose index is at its end.
            if container is not None and (container != "mp4" or path is None or index_is_in_front(path)):
                yield LiveFeed(container, _pieces(file))
                return
            from selsa_client.cli.remux import remuxed

            if path is None:
                yield remuxed(file, video.name, {})
            else:
                # The prefix keeps FFmpeg from reading a name with a colon as an address.
                yield remuxed(f"file:{path.absolute()}", str(path), {"protocol_whitelist": "file"})


def recognised(head: bytes) -> LiveContainer | None:
    """The container that starts with these bytes, if the server can read it forward."""
    if head[4:8] in _MP4_BOXES:
        return "mp4"
    if head.startswith(_EBML):
        return "matroska"
    if head[:1] == head[_TS_PACKET : _TS_PACKET + 1] == _TS_SYNC:
        return "mpegts"
    return None


def index_is_in_front(path: Path) -> bool:
    """Whether the index of an MP4 file precedes its frames, so that it can be read forward."""
    with path.open("rb") as file:
        position = 0
        while True:
            file.seek(position)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if kind in (b"moov", b"mdat") or len(head) < 8:
                return kind == b"moov"
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length < 8:
                return False
            position += length


def _opened(source: VideoSource, stack: ExitStack) -> _Readable:
    if isinstance(source, OpenableVideo):
        return stack.enter_context(source.opened())
    if isinstance(source, Path):
        try:
            return stack.enter_context(source.open("rb"))
        except OSError as error:
            raise InputError(f"Cannot read {source}: {error.strerror or error}") from error
    assert hasattr(source, "read")
    return source  # type: ignore[return-value]


def _pieces(file: _Readable) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


class _Peekable:
    """A file that is read forward and whose first bytes can be examined."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self._head = b""

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (more := self._read(size - len(self._head))):
            self._head += more
        return self._head

    def read(self, size: int, /) -> bytes:
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return self._read(size)

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise InputError(f"Reading the video failed: {error.strerror or error}") from error

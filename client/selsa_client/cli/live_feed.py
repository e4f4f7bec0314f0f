"""What the command sends as a live stream: bytes as they are where the server can read them forward, else
remuxed on the way.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

from selsa_client.cli.inputs import VideoInput
from selsa_client.http.upload import OpenableVideo, VideoSource
from selsa_client.live.feed import LiveFeed
from selsa_client.live.protocol import PIECE_BYTES
from selsa_client.wire.errors import InputError
from selsa_server.schema.stream import LiveContainer

_MP4_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"})
_EBML: Final = b"\x1a\x45\xdf\xa3"
_TS_SYNC: Final = 0x47
_TS_PACKET: Final = 188
# Enough to tell one container from another.
_HEAD_BYTES: Final = _TS_PACKET + 1


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@contextmanager
def live_feed(
    video: VideoInput, source: Callable[[VideoInput], AbstractContextManager[VideoSource]]
) -> Iterator[LiveFeed]:
    """A video as it is sent.

    Args:
        video: what the command was given.
        source: opens it, unless it is a camera or an rtsp address.

    Raises:
        InputError: it cannot be read.
        MissingPackageError: it has to be remuxed, for which PyAV is not installed.
    """
    with ExitStack() as stack:
        if video.kind == "camera":
            from selsa_client.cli.camera import camera_images

            yield LiveFeed("jpeg", camera_images(video.address))
        elif video.kind == "rtsp":
            from selsa_client.cli.remux import remuxed, rtsp_options

            yield remuxed(video.address, video.name, rtsp_options())
        else:
            file = _opened(stack.enter_context(source(video)), stack)
            if video.kind == "file":
                yield stack.enter_context(_of_file(Path(video.address)))
            else:
                yield stack.enter_context(_of_pipe(_Peeked(file), video.name))


def recognised(head: bytes) -> LiveContainer | None:
    """The container that begins so, if it is one that the server reads forward."""
    if head[4:8] in _MP4_BOXES:
        return "mp4"
    if head.startswith(_EBML):
        return "matroska"
    if head[:1] == head[_TS_PACKET : _TS_PACKET + 1] == bytes([_TS_SYNC]):
        return "mpegts"
    return None


def index_is_in_front(path: Path) -> bool:
    """Whether an MP4 file's index comes before its frames, so that it can be read forward."""
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


@contextmanager
def _of_file(path: Path) -> Iterator[LiveFeed]:
    with path.open("rb") as file:
        container = recognised(file.read(_HEAD_BYTES))
        if container is not None and (container != "mp4" or index_is_in_front(path)):
            file.seek(0)
            yield LiveFeed(container, _pieces(file))
            return
    from selsa_client.cli.remux import remuxed

    # The prefix keeps a name with a colon from being read as an address.
    yield remuxed(f"file:{path.absolute()}", str(path), {"protocol_whitelist": "file"})


@contextmanager
def _of_pipe(file: "_Peeked", name: str) -> Iterator[LiveFeed]:
    container = recognised(file.peek(_HEAD_BYTES))
    if container is not None:
        # Of an MP4 whose index is at its end, the server says so: a pipe cannot be read twice.
        yield LiveFeed(container, _pieces(file))
        return
    from selsa_client.cli.remux import remuxed

    yield remuxed(file, name, {})


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
    while piece := _read(file, PIECE_BYTES):
        yield piece


def _read(file: _Readable, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise InputError(f"The video cannot be read on: {error.strerror or error}") from error


class _Peeked:
    """A file that is read forward, at whose beginning one may look."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self._head = b""

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (more := _read(self._file, size - len(self._head))):
            self._head += more
        return self._head

    def read(self, size: int, /) -> bytes:
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return _read(self._file, size)

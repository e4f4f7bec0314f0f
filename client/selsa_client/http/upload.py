"""The bytes of a video on their way out: read chunk by chunk as the network takes them, never whole."""

import io
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol, runtime_checkable

import anyio.to_thread

from selsa_client.wire.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

# Bytes per read: large enough that Python's share of a gigabyte is small, small enough for a smooth bar.
CHUNK: Final = 256 * 1024


class OpenedVideo(Protocol):
    """A video that is being read. `length` is in bytes, None when that is not known before the end."""

    @property
    def length(self) -> int | None: ...  # noqa: D102 - see the class

    def read(self, size: int, /) -> bytes:
        """Between one byte and `size`; empty at the end."""
        ...


@runtime_checkable
class OpenableVideo(Protocol):
    """A video that is somewhere else and is opened anew for each attempt, such as a `WebVideo`."""

    def opened(self) -> AbstractContextManager[OpenedVideo]:
        """The video from its beginning.

        Raises:
            InputError: it cannot be had.
        """
        ...


VideoSource = str | os.PathLike[str] | bytes | IO[bytes] | OpenableVideo | Iterable[bytes]
AsyncVideoSource = VideoSource | AsyncIterable[bytes]

# Called with (bytes sent, bytes in all or None) after each chunk has left.
UploadProgress = Callable[[int, int | None], None]


class Upload:
    """One attempt at sending a source: hands out a chunk only when the one before it has been taken."""

    def __init__(
        self,
        read: Callable[[int], bytes],
        *,
        length: int | None,
        progress: UploadProgress | None,
        chunks: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.length = length
        self._read = read
        self._async_chunks = chunks
        self._progress = progress
        self._sent = 0

    def __iter__(self) -> Iterator[bytes]:
        while size := self._next_size():
            chunk = _read_some(self._read, size)
            self._check_end(chunk)
            if not chunk:
                break
            yield chunk
            self._count(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while size := self._next_size():
            if self._async_chunks is not None:
                chunk = await anext(self._async_chunks, b"")
            else:
                # A slow disk must not stop the event loop.
                chunk = await anyio.to_thread.run_sync(_read_some, self._read, size)
            self._check_end(chunk)
            if not chunk:
                break
            yield chunk
            self._count(chunk)

    def _next_size(self) -> int:
        # A file that grows is sent as long as it was: Content-Length has been promised.
        return CHUNK if self.length is None else min(CHUNK, self.length - self._sent)

    def _check_end(self, chunk: bytes) -> None:
        if not chunk and self.length is not None:
            raise InputError(
                f"The video became shorter while being sent: {self._sent} of {self.length} bytes"
            )

    def _count(self, chunk: bytes) -> None:
        self._sent += len(chunk)
        if self._progress is not None:
            self._progress(self._sent, self.length)


class UploadSource:
    """A video as the caller named it: a path, bytes, a binary file object or an iterable of bytes."""

    def __init__(self, source: AsyncVideoSource, progress: UploadProgress | None = None) -> None:
        self._source = source
        self._progress = progress
        self._start = _position(source)
        self._sent: tuple[int, int] | None = None

    @property
    def repeatable(self) -> bool:
        """Whether a second attempt sends the same bytes."""
        if isinstance(self._source, str | os.PathLike):
            # A name may be a pipe's, as in `selsa detect <(...)`: what has been read of it is gone.
            return Path(self._source).is_file()
        return isinstance(self._source, bytes | OpenableVideo) or self._start is not None

    @contextmanager
    def attempt(self) -> Iterator[Upload]:
        """The source opened for one attempt; a file that was opened here is closed after it.

        Raises:
            InputError: there is no such file, or it cannot be read.
        """
        source = self._source
        with ExitStack() as stack:
            if isinstance(source, bytes):
                yield Upload(io.BytesIO(source).read, length=len(source), progress=self._progress)
            elif isinstance(source, str | os.PathLike):
                file = stack.enter_context(_open(Path(source)))
                self._check_unchanged(file, source)
                yield Upload(file.read, length=_file_length(file), progress=self._progress)
            elif isinstance(source, OpenableVideo):
                video = stack.enter_context(source.opened())
                yield Upload(video.read, length=video.length, progress=self._progress)
            elif _is_file(source):
                yield Upload(source.read, length=self._rewind(source), progress=self._progress)
            elif isinstance(source, AsyncIterable):
                chunks = (chunk async for chunk in source if chunk)
                yield Upload(_refuse_read, length=None, progress=self._progress, chunks=chunks)
            else:
                pieces = (piece for piece in source if piece)
                yield Upload(lambda _: next(pieces, b""), length=None, progress=self._progress)

    def _check_unchanged(self, file: IO[bytes], path: str | os.PathLike[str]) -> None:
        """A second attempt may go on behind records of the first, so it has to be the same video."""
        status = os.fstat(file.fileno())
        now = (status.st_size, status.st_mtime_ns)
        if self._sent not in (None, now):
            raise InputError(f"The video {os.fspath(path)} changed while it was being sent")
        self._sent = now

    def _rewind(self, file: IO[bytes]) -> int | None:
        """Back to where the caller's file stood; bytes from there to its end, None when it cannot seek."""
        if self._start is None:
            return None
        end = file.seek(0, os.SEEK_END)
        file.seek(self._start)
        return max(0, end - self._start)


def _is_file(source: object) -> "TypeIs[IO[bytes]]":
    return hasattr(source, "read")


def _position(source: AsyncVideoSource) -> int | None:
    if not _is_file(source):
        return None
    # Objects that merely can be read, such as a response's raw stream, need not know of seeking.
    seekable = getattr(source, "seekable", None)
    return source.tell() if seekable is not None and seekable() else None


def _open(path: Path) -> IO[bytes]:
    try:
        # Unbuffered: chunks are large, and a buffer would copy each once more.
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}") from error
    return file


def _file_length(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    # A pipe or a device has no length before its end.
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _read_some(read: Callable[[int], bytes], size: int) -> bytes:
    try:
        return read(size)
    except OSError as error:
        raise InputError(f"The video cannot be read on: {error.strerror or error}") from error


def _refuse_read(_size: int) -> bytes:
    raise TypeError("an asynchronous iterable can only be sent by AsyncClient")

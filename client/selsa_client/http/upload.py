"""Videos as request bodies: read chunk by chunk as the network accepts them, never held whole."""

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

# Bytes per read: large enough to keep Python's overhead low, small enough for a smooth progress bar.
CHUNK: Final = 256 * 1024


class OpenedVideo(Protocol):
    """An open video. `length` is in bytes, None if it is not known before the end."""

    @property
    def length(self) -> int | None: ...  # noqa: D102

    def read(self, size: int, /) -> bytes:
        """The next bytes, `size` at most; b"" at the end."""
        ...


@runtime_checkable
class OpenableVideo(Protocol):
    """A video elsewhere, opened again for each attempt, such as a `WebVideo`."""

    def opened(self) -> AbstractContextManager[OpenedVideo]:
        """Open the video at its start.

        Raises:
            InputError: it cannot be read.
        """
        ...


VideoSource = str | os.PathLike[str] | bytes | IO[bytes] | OpenableVideo | Iterable[bytes]
AsyncVideoSource = VideoSource | AsyncIterable[bytes]

# Called with (bytes sent, total bytes or None) after each chunk.
UploadProgress = Callable[[int, int | None], None]


class Upload:
    """One attempt to send a source: reads a chunk only when the previous one has been sent."""

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
            if not (chunk := self._checked(_read_some(self._read, size))):
                break
            yield chunk
            self._count(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while size := self._next_size():
            if self._async_chunks is not None:
                chunk = await anext(self._async_chunks, b"")
            else:
                # A slow disk must not block the event loop.
                chunk = await anyio.to_thread.run_sync(_read_some, self._read, size)
            if not self._checked(chunk):
                break
            yield chunk
            self._count(chunk)

    def _next_size(self) -> int:
        # If a file grows, only its original length is sent: Content-Length has been sent already.
        return CHUNK if self.length is None else min(CHUNK, self.length - self._sent)

    def _checked(self, chunk: bytes) -> bytes:
        if not chunk and self.length is not None:
            raise InputError(
                f"The video became shorter while being sent: {self._sent} of {self.length} bytes"
            )
        return chunk

    def _count(self, chunk: bytes) -> None:
        self._sent += len(chunk)
        if self._progress is not None:
            self._progress(self._sent, self.length)


class UploadSource:
    """A video as the caller gave it, and the callback for the progress of its upload."""

    def __init__(self, source: AsyncVideoSource, progress: UploadProgress | None = None) -> None:
        self._source = source
        self._progress = progress
        self._start = _position(source)
        self._sent: tuple[int, int] | None = None

    @property
    def repeatable(self) -> bool:
        """Whether a second attempt would send the same bytes."""
        if isinstance(self._source, str | os.PathLike):
            # A path may name a pipe, as in `selsa detect <(...)`, which can be read only once.
            return Path(self._source).is_file()
        return isinstance(self._source, bytes | OpenableVideo) or self._start is not None

    @contextmanager
    def attempt(self) -> Iterator[Upload]:
        """Open the source for one attempt; files opened here are closed afterwards.

        Raises:
            InputError: it cannot be read.
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
        """A second attempt may continue after records of the first, so the video must be the same."""
        status = os.fstat(file.fileno())
        now = (status.st_size, status.st_mtime_ns)
        if self._sent not in (None, now):
            raise InputError(f"The video {os.fspath(path)} changed while it was being sent")
        self._sent = now

    def _rewind(self, file: IO[bytes]) -> int | None:
        """Seek to the file's original position; bytes from there to the end, None if it cannot seek."""
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
    # Objects that can only be read, such as a raw response, may lack `seekable`.
    seekable = getattr(source, "seekable", None)
    return source.tell() if seekable is not None and seekable() else None


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb", buffering=0)  # chunks are large; a buffer would only copy them
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}") from error


def _file_length(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    # The length of a pipe or a device is not known before its end.
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _read_some(read: Callable[[int], bytes], size: int) -> bytes:
    try:
        return read(size)
    except OSError as error:
        raise InputError(f"Reading the video failed: {error.strerror or error}") from error


def _refuse_read(_size: int) -> bytes:
    raise TypeError("an asynchronous iterable can only be sent by AsyncClient")

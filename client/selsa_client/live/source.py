"""Sources of a live stream: files and bytes in pieces, or iterables of pieces."""

import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from typing import Generic, TypeVar, cast

import anyio.to_thread

from selsa_client.http.upload import OpenableVideo, UploadSource, VideoSource
from selsa_client.live.protocol import TimedImage

T = TypeVar("T")

LiveSource = VideoSource | Iterable[bytes | TimedImage]
AsyncLiveSource = LiveSource | AsyncIterable[bytes | TimedImage]


async def pieces_of(source: AsyncLiveSource) -> AsyncGenerator[bytes | TimedImage, None]:
    """The pieces of a source, read as they are taken.

    Anything but an asynchronous iterable is read in a daemon thread: a read from a camera or a pipe may never
    return, which must not block the caller from leaving.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(source, AsyncIterable):
        async for piece in source:
            yield piece
        return
    items = Endable(_read(source))
    each = items.each()
    try:
        while (found := await anyio.to_thread.run_sync(next, each, None, abandon_on_cancel=True)) is not None:
            yield found
    finally:
        items.end()
        with suppress(ValueError):  # an abandoned thread still waits in it, and ends now
            each.close()


def _read(source: LiveSource) -> Generator[bytes | TimedImage, None, None]:
    if isinstance(source, str | bytes | PathLike | OpenableVideo) or hasattr(source, "read"):
        with UploadSource(cast("VideoSource", source)).attempt() as upload:
            yield from upload
    else:
        yield from source


@dataclass(frozen=True)
class _Failure:
    error: Exception


class Endable(Generic[T]):
    """Items that another thread can end, even while the reader waits for the next one."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self._ended = threading.Event()
        # One item read ahead, and space for the None that marks the end.
        self._read: queue.Queue[T | _Failure | None] = queue.Queue(2)

    def end(self) -> None:
        """End the items."""
        self._ended.set()
        with suppress(queue.Full):  # then the reader wakes up anyway
            self._read.put_nowait(None)

    def each(self) -> Generator[T, None, None]:
        """The items until the end, read in a daemon thread."""
        threading.Thread(target=self._read_all, name="endable", daemon=True).start()
        try:
            while (item := self._read.get()) is not None and not self._ended.is_set():
                if isinstance(item, _Failure):
                    raise item.error
                yield item
        finally:
            self._ended.set()
            with suppress(queue.Empty):
                while True:
                    self._read.get_nowait()

    def _read_all(self) -> None:
        try:
            for item in self._items:
                self._read.put(item)
                if self._ended.is_set():
                    break
        except Exception as error:  # noqa: BLE001 - raised in `each`
            self._read.put(_Failure(error))
        finally:
            if isinstance(self._items, Generator):
                self._items.close()
            self._read.put(None)

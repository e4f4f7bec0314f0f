"""Sources of a live stream: files and bytes in pieces, or iterables of pieces."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from typing import cast

from selsa_client.http.upload import OpenableVideo, UploadSource, VideoSource
from selsa_client.live.protocol import TimedImage

LiveSource = VideoSource | Iterable[bytes | TimedImage]
AsyncLiveSource = LiveSource | AsyncIterable[bytes | TimedImage]


@contextmanager
def pieces_of(source: LiveSource) -> Iterator[Iterator[bytes | TimedImage]]:
    """The pieces of a source, read as they are taken.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(source, str | bytes | PathLike | OpenableVideo) or hasattr(source, "read"):
        with UploadSource(cast("VideoSource", source)).attempt() as upload:
            yield iter(upload)
        return
    pieces = iter(source)
    try:
        yield pieces
    finally:
        # A generator may hold a file or a camera; the thread that reads it has to close it.
        if isinstance(pieces, Generator):
            pieces.close()


async def in_thread(source: LiveSource) -> AsyncGenerator[bytes | TimedImage, None]:
    """The pieces of a source, read one ahead in a daemon thread.

    A read from a camera or a pipe may never return; that must not block the caller from leaving.

    Raises:
        InputError: it cannot be read.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes | TimedImage | Exception | None] = asyncio.Queue(1)
    stopped = threading.Event()

    def put(piece: bytes | TimedImage | Exception | None) -> None:
        step = pieces.put(piece)
        try:
            future = asyncio.run_coroutine_threadsafe(step, loop)
        except RuntimeError:
            step.close()
            raise
        future.result()

    def read() -> None:
        # The loop may end while this thread reads; the error is then dropped.
        with suppress(RuntimeError, asyncio.CancelledError):
            try:
                with pieces_of(source) as found:
                    for piece in found:
                        if stopped.is_set():
                            return
                        put(piece)
                put(None)
            except Exception as error:  # noqa: BLE001 - raised in the loop's thread
                put(error)

    threading.Thread(target=read, name="live source", daemon=True).start()
    try:
        while (piece := await pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        stopped.set()
        # The thread may be waiting for space in the queue.
        with suppress(asyncio.QueueEmpty):
            while True:
                pieces.get_nowait()

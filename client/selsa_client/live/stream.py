"""A live stream for blocking code: runs the asynchronous one in its own thread.

Sending and receiving must happen at the same time: a server that is behind reads nothing until its records
have been read, so a single blocking thread would wait for ever.
"""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from selsa_client.live.async_stream import AsyncLiveStream
from selsa_client.live.link import LiveAddress
from selsa_client.live.source import LiveSource
from selsa_client.stream import KnownRecords
from selsa_client.wire.frames import Frame
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.stream import StreamStart


class LiveStream(KnownRecords):
    """Detections on a video while it arrives; iterating gives a `Frame` per frame.

    Any thread may call `send` and `end`; read the records in one thread.
    """

    def __init__(self, address: LiveAddress, start: StreamStart, source: LiveSource | None = None) -> None:
        self._stream = AsyncLiveStream(address, start, source)
        super().__init__(self._stream.reader)
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._received = self._receive()

    def open(self) -> None:
        """Connect, and start to send the source if there is one.

        Raises:
            SelsaError: see `Client.stream`.
        """
        if self._portal is None:
            self._portal = self._stack.enter_context(start_blocking_portal("asyncio"))
            try:
                self._portal.call(self._stream.open)
            except BaseException:
                self._stack.close()
                raise

    def send(self, data: bytes, *, time: float | None = None) -> None:
        """Send the next bytes, or the next image with its time in seconds; waits while the server is behind.

        Call it in another thread than the one that reads the records.

        Raises:
            RuntimeError: `end` was called before, or the stream is not open.
            IncompleteError: the server has hung up; the next record tells the reason.
        """
        self._running().call(partial(self._stream.send, data, time=time))

    def end(self) -> None:
        """End the video; the remaining records follow, then the summary."""
        self._running().call(self._stream.end)

    def records(self) -> Iterator[StreamRecord]:
        """Every record in order: the video, the frames, the summary. Opens the stream."""
        return self._received

    def __iter__(self) -> Iterator[Frame]:
        return (record for record in self._received if isinstance(record, Frame))

    def close(self) -> None:
        """Drop the connection; the server then stops."""
        if self._portal is not None:
            portal, self._portal = self._portal, None
            try:
                portal.call(self._stream.close)
            finally:
                self._stack.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self) -> Generator[StreamRecord, None, None]:
        self.open()
        received = self._stream.records()

        async def step() -> StreamRecord | None:
            return await anext(received, None)

        while (record := self._running().call(step)) is not None:
            yield record

    def _running(self) -> BlockingPortal:
        if self._portal is None:
            raise RuntimeError("the stream is not open: use `with`")
        return self._portal

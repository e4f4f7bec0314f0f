"""A live stream for plain code: the asynchronous one, run in a thread of its own.

Sending and receiving have to go on at once: a server that is behind takes nothing until its records are
taken, so that one thread which did first the one and then the other would wait for ever.
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
    """Detections on a video that is still arriving; iterating gives a `Frame` for each frame.

    Any thread may `send` and `end`; records are for one thread.
    """

    def __init__(self, address: LiveAddress, start: StreamStart, source: LiveSource | None = None) -> None:
        self._stream = AsyncLiveStream(address, start, source)
        super().__init__(self._stream.reader)
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._received = self._receive()

    def open(self) -> None:
        """Connect, and begin to send the source if there is one.

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
        """Send the next bytes, or the next image and when it is shown in seconds; waits while the server is
        behind. Without a `source`, this must go on in another thread than the one that reads the records.

        Raises:
            RuntimeError: `end` was called before, or the stream is not open.
            IncompleteError: the server has hung up; the next record says why.
        """
        self._opened().call(partial(self._stream.send, data, time=time))

    def end(self) -> None:
        """There is no more to send; the records that are left follow, then the summary."""
        self._opened().call(self._stream.end)

    def records(self) -> Iterator[StreamRecord]:
        """Every record in order: the video, the frames, the summary. Opens the stream."""
        return self._received

    def __iter__(self) -> Iterator[Frame]:
        return (record for record in self._received if isinstance(record, Frame))

    def close(self) -> None:
        """Hang up; the server then stops."""
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

        while (record := self._opened().call(step)) is not None:
            yield record

    def _opened(self) -> BlockingPortal:
        if self._portal is None:
            raise RuntimeError("the stream is not open: use `with`")
        return self._portal

"""A live stream for asynchronous code: sends pieces and receives records at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from selsa_client.live.link import LiveAddress
from selsa_client.live.protocol import END, LiveReader, TimedImage, messages_of, start_message
from selsa_client.live.source import AsyncLiveSource, pieces_of
from selsa_client.stream import KnownRecords
from selsa_client.wire.errors import IncompleteError
from selsa_client.wire.frames import Frame
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.stream import StreamStart

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

# Seconds without a record until the connection counts as dead. A working server sends records more often
# while it receives frames, and hangs up when it receives none.
_SILENCE: Final = 600.0


class _EndedError(RuntimeError):
    pass


class AsyncLiveStream(KnownRecords):
    """Detections on a video while it arrives; iterating gives a `Frame` per frame.

    Read the frames without long pauses: the server hangs up if its records are not read.
    """

    def __init__(
        self, address: LiveAddress, start: StreamStart, source: AsyncLiveSource | None = None
    ) -> None:
        self._live = LiveReader()
        super().__init__(self._live.records)
        self._address = address
        self._start = start
        self._source = source
        self._connection: ClientConnection | None = None
        self._sending = asyncio.Lock()
        self._ended = False
        self._fault: Exception | None = None
        self._pump: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and start to send the source if there is one.

        Raises:
            SelsaError: see `Client.stream`.
        """
        if self._connection is not None:
            return
        self._connection = await self._address.connect()
        with suppress(IncompleteError):  # the server has hung up; its record tells the reason
            await self._send(start_message(self._start))
        if self._source is not None:
            self._pump = asyncio.create_task(self._send_all(self._source))

    async def send(self, data: bytes, *, time: float | None = None) -> None:
        """Send the next bytes, or the next image with its time in seconds; waits while the server is behind.

        Raises:
            RuntimeError: `end` was called before.
            IncompleteError: the server has hung up; the next record tells the reason.
        """
        piece = data if time is None else TimedImage(data, time)
        async with self._sending:
            if self._ended:
                raise _EndedError("the stream has been ended; nothing more can be sent")
            for message in messages_of(piece, self._start.container):
                await self._send(message)

    async def end(self) -> None:
        """End the video; the remaining records follow, then the summary."""
        async with self._sending:
            if not self._ended:
                self._ended = True
                await self._send(END)

    async def records(self) -> AsyncIterator[StreamRecord]:
        """Every record in order: the video, the frames, the summary. Opens the stream."""
        from websockets.exceptions import ConnectionClosed

        await self.open()
        assert self._connection is not None
        while not self.complete:
            try:
                async with asyncio.timeout(_SILENCE):
                    message = await self._connection.recv()
            except ConnectionClosed as closed:
                if self._fault is not None:
                    raise self._fault from None
                code = None if closed.rcvd is None else closed.rcvd.code
                self._live.closed(code, "" if closed.rcvd is None else closed.rcvd.reason)
                return
            except TimeoutError as error:
                raise self.reader.incomplete("the server sent nothing for too long") from error
            for record in self._live.accept(message):
                yield record

    def __aiter__(self) -> AsyncIterator[Frame]:
        return (record async for record in self.records() if isinstance(record, Frame))

    async def close(self) -> None:
        """Drop the connection; the server then stops."""
        self._ended = True
        if self._pump is not None:
            self._pump.cancel()
        if self._connection is not None:
            await self._connection.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, message: str | bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        assert self._connection is not None, "the stream is not open: use `async with`"
        try:
            await self._connection.send(message)
        except ConnectionClosed as closed:
            reason = "" if closed.rcvd is None else f" ({closed.rcvd.code} {closed.rcvd.reason})"
            raise self.reader.incomplete(f"the server has hung up{reason}") from closed

    async def _send_all(self, source: AsyncLiveSource) -> None:
        """Send the source in the background. A failure is raised where the records are read."""
        try:
            async with aclosing(pieces_of(source)) as pieces:
                async for piece in pieces:
                    time = piece.time if isinstance(piece, TimedImage) else None
                    await self.send(piece.data if isinstance(piece, TimedImage) else piece, time=time)
            await self.end()
        except (IncompleteError, _EndedError):
            pass  # the server has hung up; its last record tells the reason
        except Exception as error:  # noqa: BLE001 - see above
            self._fault = error
            if self._connection is not None:
                await self._connection.close()

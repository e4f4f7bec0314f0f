"""One connection of `WS /stream`: messages in, records out, both at the pace of the slower side."""

import threading
from collections.abc import Generator
from typing import Final

import anyio
import anyio.to_thread
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from selsa_server.errors import DetectError, RequestError
from selsa_server.pipeline.live_run import LiveRun
from selsa_server.run_context import RunContext, StoppedError
from selsa_server.schema.detect import ErrorRecord, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema.stream import StreamEnd, StreamFrame, StreamStart, stream_message
from selsa_server.service.models import Models
from selsa_server.settings import StreamSettings
from selsa_server.video.live.input import LiveInput, LiveMessage

Result = VideoRecord | FrameRecord | SummaryRecord
# Bytes that wait to be decoded; after that the server stops reading.
BUFFER_BYTES: Final = 1 << 20


class LiveSession:
    """Serves one accepted connection.

    Attributes:
        emitted: frame records that were sent.
        run: the detection, after the start message.
    """

    def __init__(
        self,
        socket: WebSocket,
        models: Models,
        limits: StreamSettings,
        threads: anyio.CapacityLimiter,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._socket = socket
        self._models = models
        self._limits = limits
        self._threads = threads
        self._source = LiveInput(buffer_bytes)
        self._stopped = threading.Event()
        self._time: float | None = None
        self._gone: WebSocketDisconnect | None = None
        self.emitted = 0
        self.run: LiveRun | None = None

    async def start(self) -> StreamStart:
        """The first message.

        Raises:
            DetectError: it is another one, or does not come in time.
            WebSocketDisconnect: the client is gone.
        """
        message = await self._receive()
        found = _parsed(message) if isinstance(message, str) else None
        if not isinstance(found, StreamStart):
            raise RequestError("malformed_request", "The first message must be a text message of type start.")
        return found

    async def serve(self, start: StreamStart) -> None:
        """Run the stream after its first message, to the last record.

        Raises:
            DetectError: to be the last record.
            WebSocketDisconnect: the client is gone.
        """
        with self._models.using(start.model) as model:
            model.service.pipeline.check(start)
            context = RunContext(stopped=self._stopped.is_set)
            self.run = run = LiveRun(model.service.for_run(context), start, self._source, context)
            await self._converse(start, run)

    async def _converse(self, start: StreamStart, run: LiveRun) -> None:
        failures: list[Exception] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self._read, start)
            try:
                await self._write(run)
            except Exception as error:  # noqa: BLE001 - raised below, outside the group that would wrap it
                failures.append(error)
            self._stop()
            group.cancel_scope.cancel()
        if failures:
            raise failures[0]

    def end(self, error: DetectError) -> None:
        """End the stream after what has come so far; `error` is its last record."""
        self._source.end(error)

    async def send(self, record: Result | ErrorRecord) -> None:
        """Send a record; waits while the client is slow.

        Raises:
            WebSocketDisconnect: it has gone, or reads nothing.
        """
        try:
            with anyio.fail_after(self._limits.stream_timeout):
                await self._socket.send_text(record.model_dump_json())
        except TimeoutError as error:
            raise WebSocketDisconnect(1008, "the client reads no records") from error

    async def _write(self, run: LiveRun) -> None:
        records = run.records()
        try:
            while (record := await self._next(records)) is not None:
                await self.send(record)
                self.emitted += isinstance(record, FrameRecord)
        finally:
            self._stop()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(records.close, limiter=self._threads)
        if self._gone is not None:
            raise self._gone

    async def _next(self, records: Generator[Result, None, None]) -> Result | None:
        # Not abandoned on cancellation: the run was stopped, and its generator ends by itself.
        try:
            return await anyio.to_thread.run_sync(next, records, None, limiter=self._threads)
        except StoppedError:  # while a call waited for the engine
            return None

    async def _read(self, start: StreamStart) -> None:
        """Read messages until the last one, then wait for the disconnection."""
        try:
            while not self._stopped.is_set():
                message = await self._receive()
                if isinstance(message, bytes):
                    await self._put(message)
                elif self._ends(message, start):
                    await self._watch()
        except DetectError as error:
            self._source.end(error)
        except WebSocketDisconnect as gone:
            self._gone = gone
            self._stop()

    async def _watch(self) -> None:
        self._source.end()
        while (await self._socket.receive())["type"] != "websocket.disconnect":
            pass
        raise WebSocketDisconnect

    def _ends(self, text: str, start: StreamStart) -> bool:
        message = _parsed(text)
        if isinstance(message, StreamFrame) and start.container == "jpeg":
            self._time = message.time
            return False
        if isinstance(message, StreamEnd):
            return True
        raise RequestError("malformed_request", f"A message of type {message.type} has no place here.")

    async def _put(self, data: bytes) -> None:
        message, self._time = LiveMessage(data, self._time), None
        if self._source.full:
            # Nothing is read from the socket meanwhile, so the client has to wait.
            await anyio.to_thread.run_sync(self._source.put, message, limiter=self._threads)
        else:
            self._source.put(message)

    async def _receive(self) -> str | bytes:
        try:
            with anyio.fail_after(self._limits.stream_timeout):
                message = await self._socket.receive()
        except TimeoutError as error:
            raise RequestError(
                "request_timeout",
                f"No message came for {self._limits.stream_timeout:g} s; start the stream again.",
            ) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1000, message.get("reason"))
        found: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
        if len(found) > self._limits.max_message_bytes:
            raise RequestError(
                "body_too_large",
                f"A message has {len(found)} bytes, {self._limits.max_message_bytes} are allowed in one.",
            )
        return found

    def _stop(self) -> None:
        self._stopped.set()
        self._source.abort()


def _parsed(text: str) -> StreamStart | StreamFrame | StreamEnd:
    try:
        return stream_message(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "type"
        raise RequestError(
            "malformed_request",
            f"The message is wrong at {where[:100]}: {first['msg']}.",
            parameter=where[:100],
        ) from error

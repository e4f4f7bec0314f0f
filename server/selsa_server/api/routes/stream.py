"""`WS /stream`: detection on a video that is still arriving."""

from contextlib import suppress
from typing import Final

import anyio
import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from selsa_server.api.live_session import LiveSession
from selsa_server.errors import DetectError, OverloadError
from selsa_server.schema.problems import error_record, status_of
from selsa_server.schema.stream import StreamStart
from selsa_server.service.models import Models
from selsa_server.settings import StreamSettings
from selsa_server.telemetry.metrics import Metrics

# Codes from 4000 on are an application's (RFC 6455 section 7.4.2): 4000 + the HTTP status of the error.
ERROR_CLOSE_CODES: Final = 4000
# A browser that offers subprotocols (one is its API key) needs the server to choose one.
PROTOCOL: Final = "selsa"
# Connections without a start message. More would fill `max_connections` and shut out all other requests.
MAX_WAITING: Final = 64


class Streams:
    """The live streams of a server."""

    def __init__(self, models: Models, limits: StreamSettings, retry_after: int, metrics: Metrics) -> None:
        self._models = models
        self._metrics = metrics
        self._limits = limits
        self._retry_after = retry_after
        # Two threads per stream: one computes, one waits for room in the buffer.
        self._threads = anyio.CapacityLimiter(2 * limits.max_streams)
        # A connection takes a place with its start message: clients that say nothing must not hold them all.
        self._sessions: set[LiveSession] = set()
        self._started: set[LiveSession] = set()
        # Those without a start message, the oldest first.
        self._waiting: dict[LiveSession, anyio.CancelScope] = {}
        self._ending: DetectError | None = None

    @property
    def open(self) -> int:
        """Streams that have started and not ended."""
        return len(self._started)

    def stop(self) -> None:
        """Accept no more streams, and end the open ones after the data that has arrived."""
        wait = self._retry_after
        self._ending = OverloadError(
            f"The server is ending; start the stream again in {wait} s.", wait, code="draining"
        )
        for session in self._sessions:
            session.end(self._ending)

    async def serve(self, socket: WebSocket) -> None:
        """One connection, from its acceptance to its close."""
        await socket.accept(PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", ()) else None)
        session = LiveSession(socket, self._models, self._limits, self._threads)
        with suppress(WebSocketDisconnect):
            try:
                await self._serve(session)
                await socket.close(1000)
            except DetectError as error:
                await self._refuse(socket, session, error)
            except WebSocketDisconnect:
                raise
            except Exception as error:  # noqa: BLE001 - the client always gets a last record
                structlog.get_logger().error("stream failed", exc_info=error)
                hidden = DetectError("internal_error", "The server failed on this stream; its log says why.")
                await self._refuse(socket, session, hidden)

    async def _serve(self, session: LiveSession) -> None:
        self._check_room()
        self._sessions.add(session)
        try:
            start = await self._start(session)
            self._check_room()
            self._started.add(session)
            await session.serve(start)
        finally:
            self._sessions.remove(session)
            self._started.discard(session)
            self._count(session)

    async def _start(self, session: LiveSession) -> StreamStart:
        """The start message; the connection that has waited longest for its own makes way for others."""
        with anyio.CancelScope() as scope:
            self._waiting[session] = scope
            try:
                if len(self._waiting) > MAX_WAITING:
                    next(iter(self._waiting.values())).cancel()
                return await session.start()
            finally:
                del self._waiting[session]
        raise OverloadError(
            f"More than {MAX_WAITING} streams have no start message; try again in {self._retry_after} s.",
            self._retry_after,
        )

    def _check_room(self) -> None:
        if self._ending is not None:
            raise self._ending
        if self.open >= self._limits.max_streams:
            raise OverloadError(
                f"The server is busy with {self.open} other streams; try again in {self._retry_after} s.",
                self._retry_after,
            )

    def _count(self, session: LiveSession) -> None:
        run = session.run
        if run is not None:
            self._metrics.frames(
                "stream", emitted=session.emitted, corrupt=run.corrupt, saved=run.saved, dropped=run.dropped
            )

    @staticmethod
    async def _refuse(socket: WebSocket, session: LiveSession, error: DetectError) -> None:
        structlog.get_logger().info("stream failed", code=error.code, detail=error.detail)
        await session.send(error_record(error, session.emitted))
        await socket.close(ERROR_CLOSE_CODES + status_of(error.code), error.code)


def stream_router(streams: Streams) -> APIRouter:
    """The route of live streams."""
    router = APIRouter(tags=["detection"])

    @router.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await streams.serve(socket)

    return router

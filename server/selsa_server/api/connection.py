"""One HTTP connection: nothing of it lasts for ever, and its errors are problems too.

uvicorn does not close a connection that sends half a head or a refused body without end, and loses its last
answer when it closes while the client still sends.
"""

import asyncio
import http
import socket
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Literal, cast

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from websockets.datastructures import Headers
from websockets.http11 import Request as HandshakeRequest
from websockets.server import ServerProtocol

from selsa_server.api.guard import MAX_SHOWN
from selsa_server.errors import DetectError, OverloadError, RequestError
from selsa_server.schema.detect import PROBLEM_JSON
from selsa_server.schema.problems import problem_of

# Seconds in which the rest of a request is read and dropped, so that the client can read its answer.
LINGER_SECONDS: Final = 10.0
# Bytes of the rest of a request that are dropped: a client that sends more without reading gets a reset.
LINGER_BYTES: Final = 8 << 20
# Bytes of the head of a request.
MAX_HEAD_BYTES: Final = 64 << 10
# Pieces of a body that may have any size, and bytes that later ones must have on average. Each piece costs
# about 10 microseconds: without a bound, 600 kB a second in chunks of one byte take a whole core.
FREE_PIECES: Final = 512
LEAST_PIECE: Final = 32
# Connections beyond the limit that still get a 503 while all others are busy; further ones are cut.
SPARE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Bounds of connections.

    Attributes:
        header_timeout: seconds in which the head of a request must arrive.
        send_timeout: seconds in which a client must accept bytes that were sent.
        max_connections: at once.
    """

    header_timeout: float
    send_timeout: float
    max_connections: int


class HttpConnection(H11Protocol):
    """uvicorn's connection with bounds.

    It has at most one timer: until the head of a request has arrived, or until the rest of a body that is not
    needed any more has arrived.
    """

    def __init__(self, *args: Any, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _Requests(h11.SERVER, MAX_HEAD_BYTES)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._awaited: Literal["head", "rest"] | None = None
        self._lingering = False
        self._dropped = 0
        self._raw: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._raw = raw = cast("asyncio.Transport", transport)
        super().connection_made(cast("asyncio.Transport", _Transport(raw, self._linger)))
        over = len(self.connections) - self._limits.max_connections
        if over > 0 and not self._cut_silent():
            if over > SPARE:
                raw.abort()
                return
            self.app = cast("Any", _only_health(self.app, self._limits))
        # The application's own timeout is the shorter one and is logged.
        _bound_unread(raw, self._limits.send_timeout + LINGER_SECONDS)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._await(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._lingering or self._awaited == "rest":
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES:
                self.cut()
                return
        if self._lingering:
            return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """A response is written."""
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The WebSocket's protocol takes over the transport."""
        if (fault := _handshake_fault(event)) is not None:
            self._refuse(RequestError("malformed_request", fault))
            return
        self._await(None)
        self.transport = cast("asyncio.Transport", self._raw)
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """The bytes are no request."""
        del msg
        self._refuse(RequestError("malformed_request", "The request is not valid HTTP/1.1."))

    def _cut_silent(self) -> bool:
        """Cut the connection that has waited longest for the head of a request; False if none waits."""
        silent = [
            (since, each)
            for each in self.connections
            if isinstance(each, HttpConnection) and (since := each.silent_since) is not None
        ]
        if not silent:
            return False
        min(silent, key=itemgetter(0))[1].cut()
        return True

    def _watch(self) -> None:
        """Start or stop the timer by what the connection waits for."""
        if self.transport.is_closing():
            self._await(None)
        elif self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            self._await("head")
        elif self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            self._await("rest")
        else:
            self._await(None)

    def _await(self, what: Literal["head", "rest"] | None) -> None:
        if what == self._awaited:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._awaited, self._timer, self._dropped = what, None, 0
        if what == "head":
            self._timer = self.loop.call_later(self._limits.header_timeout, self._head_is_late)
        elif what == "rest":
            self._timer = self.loop.call_later(LINGER_SECONDS, self.cut)

    def _head_is_late(self) -> None:
        self._awaited = self._timer = None
        if not self.conn.trailing_data[0]:
            self.transport.close()
            return
        detail = f"The head of the request did not arrive within {self._limits.header_timeout:g} s."
        self._refuse(RequestError("request_timeout", detail))

    def _refuse(self, error: DetectError) -> None:
        """Answer with a problem, without the application, and close."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            problem = problem_of(error)
            body = problem.model_dump_json(exclude_none=True).encode()
            headers = [
                ("Content-Type", PROBLEM_JSON),
                ("Content-Length", str(len(body))),
                ("X-Content-Type-Options", "nosniff"),
                ("Connection", "close"),
            ]
            reason = http.HTTPStatus(problem.status).phrase.encode()
            events = (
                h11.Response(status_code=problem.status, headers=headers, reason=reason),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _linger(self) -> bool:
        """Whether the close has to wait: with unread bytes it would be a reset, which destroys the answer."""
        raw = self._raw
        if raw is None or self._lingering:
            return True
        if self.conn.their_state not in (h11.SEND_BODY, h11.ERROR) or not raw.can_write_eof():
            return False
        self._await(None)
        self._lingering = True
        raw.write_eof()
        raw.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.cut)
        return True

    @property
    def silent_since(self) -> float | None:
        """Since when it waits for the head of a request, on the loop's clock; None if it does not."""
        if self._awaited != "head" or self._timer is None:
            return None
        return self._timer.when() - self._limits.header_timeout

    def cut(self) -> None:
        """Close at once, without what is still to be sent."""
        self._await(None)
        if self._raw is not None:
            self._raw.abort()


class _Requests(h11.Connection):
    """The requests of a connection, which refuses bodies in tiny pieces."""

    def __init__(self, role: type[h11.SERVER], max_incomplete_event_size: int) -> None:
        super().__init__(role, max_incomplete_event_size)
        self._pieces = self._bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._bytes < LEAST_PIECE * (self._pieces - FREE_PIECES):
                raise h11.RemoteProtocolError("the body comes in tiny pieces")
        return event


class _Transport:
    """A transport whose `close` may leave the closing to somebody else."""

    def __init__(self, raw: asyncio.Transport, linger: Callable[[], bool]) -> None:
        self._raw = raw
        self._linger = linger
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def is_closing(self) -> bool:
        return self._closed or self._raw.is_closing()

    def close(self) -> None:
        self._closed = True
        if not self._raw.is_closing() and not self._linger():
            self._raw.close()


def _handshake_fault(event: h11.Request) -> str | None:
    """Why a request opens no WebSocket; the WebSocket's protocol would say it in plain text."""
    headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
    # With a path of its own: the detail must not depend on what the client sent there.
    response = ServerProtocol().accept(HandshakeRequest("/", headers))
    if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
        return None
    return response.body.decode("utf-8", errors="replace").strip()[:MAX_SHOWN]


def _bound_unread(transport: asyncio.Transport, seconds: float) -> None:
    """Let Linux end the connection when its client accepts no bytes for that time, even after `close`."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if (
        option is not None
        and connection is not None
        and connection.family in (socket.AF_INET, socket.AF_INET6)
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, max(1, round(1000 * min(seconds, 86400))))


def _only_health(app: ASGIApp, limits: ConnectionLimits) -> ASGIApp:
    """The application for a connection over the limit: `/healthz`, and 503 for all else."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/healthz"):
            await app(scope, receive, send)
            return
        wait = max(1, round(limits.header_timeout))
        detail = f"The server has {limits.max_connections} other connections; try again in {wait} s."
        body = problem_of(OverloadError(detail, wait)).model_dump_json(exclude_none=True).encode()
        headers = [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", str(wait).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer

"""The WebSocket of a live stream: opens it, and turns its exceptions into the client's."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx

from selsa_client.http.link import is_loopback, user_agent
from selsa_client.http.protocol import ERROR_BODY_LIMIT, check_server, error_from_response
from selsa_client.wire.errors import MissingPackageError, SelsaError, ServerUnreachableError
from selsa_client.wire.records import LINE_LIMIT

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

# Seconds.
_OPEN_TIMEOUT: Final = 10
_CLOSE_TIMEOUT: Final = 2


@dataclass(frozen=True, slots=True)
class LiveAddress:
    """The address of a server and the caller's API key."""

    server: str
    api_key: str | None = None

    @property
    def url(self) -> str:
        """The address of `WS /stream`."""
        parts = urlsplit(check_server(self.server))
        scheme = {"http": "ws", "https": "wss"}[parts.scheme]
        return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/stream", "", ""))

    async def connect(self) -> "ClientConnection":
        """Open a connection.

        Raises:
            MissingPackageError: `websockets` is not installed.
            ServerUnreachableError: no server answers, or it has no live streams.
            ResponseError: the server refuses.
        """
        try:
            from websockets.asyncio.client import connect
            from websockets.exceptions import InvalidStatus, WebSocketException
        except ModuleNotFoundError as error:
            raise MissingPackageError("a live stream", "websockets") from error
        more: dict[str, Any] = {"proxy": None} if is_loopback(self.server) else {}
        if self.api_key is not None:
            more["additional_headers"] = {"Authorization": f"Bearer {self.api_key}"}
        try:
            return await connect(
                self.url,
                user_agent_header=user_agent(),
                compression=None,
                open_timeout=_OPEN_TIMEOUT,
                close_timeout=_CLOSE_TIMEOUT,
                # A server that is behind stops reading, pings included, to slow the sender down.
                ping_interval=None,
                max_size=LINE_LIMIT,
                **more,
            )
        except InvalidStatus as refused:
            raise self._refusal(refused) from refused
        except (OSError, WebSocketException) as error:
            text = str(error) or "it does not answer"
            raise ServerUnreachableError(f"No live streams at {self.url}: {text}") from error

    @staticmethod
    def _refusal(refused: Any) -> SelsaError:
        answer = refused.response
        headers = httpx.Headers(list(answer.headers.raw_items()))
        return error_from_response(answer.status_code, headers, (answer.body or b"")[:ERROR_BODY_LIMIT])

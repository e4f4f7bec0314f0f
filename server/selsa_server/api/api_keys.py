"""API keys: if the server has a file of keys, every request needs one, except to open paths."""

import base64
import hmac
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from selsa_server.api.problems import UnauthorizedError, refuse

OPEN: Final = frozenset({"/healthz", "/readyz"})
# A browser cannot give a WebSocket other headers than its subprotocols, so a key may come as one of them.
KEY_PROTOCOL: Final = "selsa-key."


def read_api_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of a file: one per line, `#` begins a comment line.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no key.
    """
    lines = (line.strip() for line in path.read_bytes().splitlines())
    keys = tuple(line for line in lines if line and not line.startswith(b"#"))
    if not keys:
        raise ValueError(f"{path} holds no key")
    return keys


class ApiKeys:
    """ASGI middleware: every path needs a key, except the two probes and `open_paths`."""

    def __init__(
        self, app: ASGIApp, keys: Sequence[bytes], open_paths: AbstractSet[str] = frozenset()
    ) -> None:
        self._app = app
        self._keys = tuple(keys)
        self._open = OPEN | open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] == "lifespan" or scope["path"] in self._open or self._knows(_given(scope)):
            await self._app(scope, receive, send)
        else:
            await refuse(UnauthorizedError(), scope, receive, send)

    def _knows(self, given: bytes) -> bool:
        # All keys are compared, each in constant time, so that the time reveals nothing about the keys.
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        return any(matches)


def _given(scope: Scope) -> bytes:
    headers = Headers(scope=scope)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    given = key.strip().encode("latin-1")
    return given or (_of_protocols(scope["subprotocols"]) if scope["type"] == "websocket" else b"")


def _of_protocols(offered: Sequence[str]) -> bytes:
    """The key of a subprotocol `selsa-key.KEY`, where KEY is URL-safe base64 without padding."""
    texts = (name.removeprefix(KEY_PROTOCOL) for name in offered if name.startswith(KEY_PROTOCOL))
    text = next(texts, "")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:  # not base64, so no key
        return b""

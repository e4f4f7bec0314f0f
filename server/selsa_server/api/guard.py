"""Who may ask: requests for this server's own names, from programs and from pages of allowed origins.

A browser sends the requests of any page to any address. Without the first check, a page whose name is made to
point at this machine (DNS rebinding) has the server's own origin. Without the second, every page may post.
"""

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from selsa_server.api.problems import refuse
from selsa_server.errors import RequestError

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
PROBES: Final = frozenset({"/healthz", "/readyz"})
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_SHOWN: Final = 200


class Guard:
    """ASGI middleware that checks `Host`, `Origin` and `Sec-Fetch-Site`.

    Args:
        app: what it guards.
        bound: the address that the server listens on.
        hosts: more allowed names, `*.NAME` and `*` as in `allowed_hosts`.
        origins: allowed origins beside the server's own.
    """

    def __init__(self, app: ASGIApp, *, bound: str, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        named = frozenset(hosts) | {_bracketed(bound)} | LOCAL_NAMES
        if bound in ANY_ADDRESS:
            named |= {socket.gethostname().lower()}
        self._any_host = "*" in named
        self._any_address = bound in ANY_ADDRESS
        self._hosts = named
        self._below = tuple(name.removeprefix("*") for name in named if name.startswith("*."))
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        error = self._refusal(scope)
        if error is None:
            await self._app(scope, receive, send)
        else:
            await refuse(error, scope, receive, send)

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if scope["path"] not in PROBES and not self._serves(_name(host)):
            return RequestError(
                "host_not_allowed",
                f"This server does not serve the host {host[:MAX_SHOWN]!r}; add its name to allowed_hosts.",
                parameter="Host",
                allowed=", ".join(sorted(self._hosts)),
            )
        if scope["type"] == "http" and scope["method"] in SAFE:
            return None
        origin = headers.get("origin")
        if origin is None:
            foreign = headers.get("sec-fetch-site") == "cross-site"
        else:
            foreign = origin.lower() not in self._origins and _authority(origin) != _authority(f"//{host}")
        if not foreign:
            return None
        return RequestError(
            "origin_not_allowed",
            f"Pages of {(origin or 'another site')[:MAX_SHOWN]!r} may not use this server; cors_origins may "
            "allow it.",
            parameter="Origin",
            allowed=", ".join(sorted(self._origins)) or "this server's own pages",
        )

    def _serves(self, name: str) -> bool:
        if self._any_host or name in self._hosts or name.endswith(".localhost"):
            return True
        if any(name.endswith(below) for below in self._below):
            return True
        # An address cannot be rebound as a name can.
        return self._any_address and _is_address(name)


class HeadAsGet:
    """ASGI middleware: HEAD at every address of GET, with the same status and headers and no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        done = False

        async def head_only(message: Message) -> None:
            nonlocal done
            if message["type"] == "http.response.start":
                await send(message)
                # Complete at once: the rest of a stream may come late or never.
                await send({"type": "http.response.body", "body": b""})
                done = True
            elif not done:
                await send(message)

        scope["method"] = "GET"
        try:
            await self._app(scope, receive, head_only)
        finally:
            scope["method"] = "HEAD"


def _bracketed(address: str) -> str:
    return f"[{address.lower()}]" if ":" in address else address.lower()


def _name(host: str) -> str:
    """The host without its port, in brackets if it is an IPv6 address."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _authority(origin: str) -> str:
    """Host and port of an origin; a default port counts as none, since a proxy may have ended TLS."""
    authority = origin.lower().partition("//")[2].rstrip("/")
    return authority.removesuffix(":80").removesuffix(":443")

"""For every request: an id, a log line, a count, and a response even if the code fails."""

import re
import time
import uuid
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from selsa_server.api.problems import problem_response
from selsa_server.errors import DetectError
from selsa_server.settings import PREFIX_PATTERN
from selsa_server.telemetry.metrics import Metrics

HEADER: Final = "X-Request-ID"
# A client's id enters logs and headers only in this form.
HARMLESS: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


class RequestContext:
    """ASGI middleware, outermost but for tracing."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        given = asked.get(HEADER, "")
        # A proxy in front may have counted the body by the other one (RFC 9112 section 6.1).
        ambiguous = "content-length" in asked and "transfer-encoding" in asked
        request_id = given if HARMLESS.match(given) else uuid.uuid4().hex
        state, path = scope.setdefault("state", {}), scope["path"]
        state["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        log = structlog.get_logger()
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[HEADER] = request_id
                headers.setdefault("X-Content-Type-Options", "nosniff")
                if ambiguous:
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:  # last resort: log everything, tell the client nothing
            log.exception("failed")
            state["code"] = "internal_error"
            if status == 0:
                error = DetectError(
                    "internal_error", "The server failed on this request; its log says why, by request_id."
                )
                await problem_response(error, request_id)(scope, receive, send_with_id)
        finally:
            self._note(scope, path, status, time.perf_counter() - started)

    def _note(self, scope: Scope, path: str, status: int, seconds: float) -> None:
        """One line in the log and one count per request."""
        state = scope["state"]
        code = state.get("code", "")
        frames = {"frames": state["frames"]} if "frames" in state else {}
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"]
        self._metrics.request(route=route, method=method, status=status, code=code, seconds=seconds)
        structlog.get_logger().info(
            "request",
            method=method,
            path=path,
            status=status,
            code=code,
            seconds=round(seconds, 3),
            **frames,
        )


class Prefixed:
    """ASGI middleware: the path below which a proxy serves the server, for redirects and addresses.

    The proxy removes the prefix from the path. This belongs directly around the routes.

    Args:
        app: the routes.
        prefix: the fixed one.
        forwarded: whether `X-Forwarded-Prefix` overrides it.
    """

    def __init__(self, app: ASGIApp, *, prefix: str, forwarded: bool) -> None:
        self._app = app
        self._prefix = prefix
        self._forwarded = forwarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] != "lifespan":
            given = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            usable = self._forwarded and given and re.fullmatch(PREFIX_PATTERN, given)
            if prefix := given if usable else self._prefix:
                scope["root_path"], scope["path"] = prefix, prefix + scope["path"]
        await self._app(scope, receive, send)

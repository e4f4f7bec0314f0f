"""Errors as `application/problem+json` (RFC 9457), those of the framework too."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import Receive, Scope, Send

from selsa_server.api.openapi import schema_of
from selsa_server.errors import DetectError, OverloadError, ParameterError, RequestError, shortage
from selsa_server.schema.detect import PROBLEM_JSON, DetectParams, Problem
from selsa_server.schema.problems import TITLES, problem_of

CLIENT_CLOSED_REQUEST: Final = 499
# Codes of middlewares and of faults, which every address but the probes may answer with.
ANYWHERE: Final = ("unauthorized", "host_not_allowed", "internal_error")
MAX_SHOWN: Final = 100
MAX_DETAIL_INPUT: Final = 200
POLICY_VIOLATION: Final = 1008


class UnauthorizedError(DetectError):
    """No API key, or a wrong one; the message does not say which."""

    codes = frozenset({"unauthorized"})

    def __init__(self) -> None:
        super().__init__(
            "unauthorized",
            "This server needs an API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
        )


def problem_response(error: DetectError, request_id: str | None = None) -> Response:
    """The response for an error."""
    headers: dict[str, str] = {}
    if isinstance(error, OverloadError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Bearer realm="selsa"'
    problem = problem_of(error, request_id)
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=headers,
    )


async def refuse(error: DetectError, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request or a WebSocket in a middleware, where no exception handler sees the error."""
    # 403 without a problem: uvicorn 0.54 logs an error for each handshake that gets a whole response.
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": error.code})
        return
    state = scope.setdefault("state", {})
    state["code"] = error.code
    await problem_response(error, state.get("request_id"))(scope, receive, send)


def problem_responses(*codes: str, anywhere: Iterable[str] = ANYWHERE) -> dict[int | str, dict[str, Any]]:
    """The part of an OpenAPI operation that describes errors with these codes and those of `anywhere`."""
    by_status: dict[int, list[str]] = {}
    for code in sorted({*codes, *anywhere}):
        by_status.setdefault(TITLES[code][0], []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {TITLES[code][1]}" for code in found),
            "content": {PROBLEM_JSON: {"schema": schema_of(Problem)}},
        }
        for status, found in sorted(by_status.items())
    }


def add_problem_handlers(app: FastAPI) -> None:
    """Make `app` answer every error with a problem."""
    app.add_exception_handler(DetectError, _on_detect_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameter)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(OSError, _on_os_error)


async def once_each(connection: HTTPConnection) -> None:
    """Dependency of all routes: a query gives each parameter once, but for `classes`.

    Raises:
        ParameterError: it gives one more often; the framework would take the last value silently.
    """
    if connection.scope["type"] != "http":
        return
    for name, times in Counter(name for name, _ in connection.query_params.multi_items()).items():
        if times > 1 and name != "classes":
            shown = name[:MAX_SHOWN]
            raise ParameterError(shown, f"The query gives {shown!r} more than once.", "one value")


def _request_id(request: Request) -> str | None:
    found = request.scope.get("state", {}).get("request_id")
    return found if isinstance(found, str) else None


async def _on_detect_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DetectError)
    request.scope.setdefault("state", {})["code"] = error.code
    structlog.get_logger().info("refused", code=error.code, detail=error.detail)
    return problem_response(error, _request_id(request))


async def _on_invalid_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _on_detect_error(request, _parameter_error(error.errors()[0]))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, method = request.url.path[:MAX_SHOWN], request.method
    if error.status_code == 404:
        found = RequestError("not_found", f"There is nothing at {path}; /docs lists all addresses.")
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        found = RequestError(
            "method_not_allowed", f"{path} does not take {method}, only {allowed}.", allowed=allowed
        )
    else:
        found = RequestError("malformed_request", "The request cannot be read; see /docs for its form.")
    response = await _on_detect_error(request, found)
    response.headers.update(error.headers or {})
    return response


async def _on_os_error(request: Request, error: Exception) -> Response:
    """A full disk or too many open files; everything else is raised again."""
    found = shortage(error)
    if found is None:
        raise error
    return await _on_detect_error(request, found)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    """The client is gone; the status is for the log."""
    del request, error
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def _parameter_error(error: dict[str, Any]) -> ParameterError:
    """pydantic's first error as ours: the parameter, its value and the allowed values."""
    where = [str(part) for part in error["loc"][1:]]  # the first is query, path or header
    name = where[0] if where else ""
    if error["type"] == "extra_forbidden":
        names = ", ".join(DetectParams.model_fields)
        return ParameterError(name, f"There is no parameter {name[:MAX_SHOWN]!r}; there are {names}.", names)
    message = str(error["msg"]).removeprefix("Value error, ")[:MAX_DETAIL_INPUT]
    if not where:
        # A rule about several parameters; its message starts with the one at fault.
        return ParameterError(message.partition(" ")[0], f"{message}.", message)
    value = repr(error.get("input"))[:MAX_SHOWN]
    if name not in DetectParams.model_fields:
        return ParameterError(name, f"{name} is {value}: {message}.", message)
    allowed = _allowed(name)
    return ParameterError(name, f"{name} is {value}; allowed is {allowed}.", allowed)


def _allowed(name: str) -> str:
    """The allowed values of a parameter of `/detect`, in words, from its schema."""
    schema = DetectParams.model_json_schema()["properties"].get(name, {})
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    if "enum" in schema:
        return " or ".join(schema["enum"])
    if schema.get("type") == "array":
        return "a class name of the model, 1 to 100 characters, given once for each class"
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    kind = kinds.get(schema.get("type", ""), "text")
    bounds = {
        "minimum": "from {}",
        "exclusiveMinimum": "greater than {}",
        "maximum": "to {}",
        "exclusiveMaximum": "less than {}",
    }
    return " ".join(
        [kind, *(text.format(f"{schema[key]:g}") for key, text in bounds.items() if key in schema)]
    )

"""What both drivers ask of httpx: its settings, requests made of ours, and its exceptions as ours."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import Final, TypedDict
from urllib.parse import urlsplit

import httpx

from selsa_client.http.early_answer import AnswerWatch
from selsa_client.http.exchange import LinkError, Request
from selsa_client.http.protocol import check_api_key, check_server
from selsa_client.http.upload import Upload

# Seconds. A server that is there accepts a connection at once, so a wrong address is told soon. Between two
# records a server may decode, wait its turn and detect: long, but not for ever, or a dead link would hang.
DEFAULT_TIMEOUT: Final = httpx.Timeout(connect=5.0, read=600.0, write=120.0, pool=5.0)

# Seconds that a request takes at most which is sent while the caller is leaving.
FAREWELL_TIMEOUT: Final = 3.0

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ClientSettings(TypedDict):
    """The arguments that `httpx.Client` and `httpx.AsyncClient` have in common."""

    base_url: str
    timeout: httpx.Timeout | float | None
    headers: dict[str, str]
    trust_env: bool
    limits: httpx.Limits


class RequestArguments(TypedDict):
    """The arguments of `build_request` that say what is sent."""

    headers: dict[str, str]
    content: bytes | Iterator[bytes] | AsyncIterator[bytes] | None
    extensions: dict[str, object]


def client_settings(
    base_url: str, timeout: httpx.Timeout | float | None, api_key: str | None
) -> ClientSettings:
    """The settings of either client.

    Raises:
        ValueError: `base_url` is not an http(s) address, or the key cannot be one.
    """
    headers = {"User-Agent": user_agent()}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {check_api_key(api_key)}"
    return ClientSettings(
        base_url=base_url,
        timeout=timeout,
        headers=headers,
        # No proxy of the environment can reach this machine's own loopback.
        trust_env=not is_loopback(check_server(base_url)),
        # A connection per request: `AnswerWatch` must know it, and beside a video a handshake is nothing.
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def is_loopback(address: str) -> bool:
    """Whether an address is one of this machine."""
    return urlsplit(address).hostname in _LOOPBACK


@cache
def user_agent() -> str:
    """Who asks, as the server's log shows it."""
    return f"selsa/{version('selsa')} python-httpx/{httpx.__version__}"


def upload_arguments(request: Request, upload: Upload, *, asynchronous: bool) -> RequestArguments:
    """How httpx is told to send a video, and to stop when the server has answered already."""
    watch = AnswerWatch()
    headers = dict(request.headers)
    if upload.length is not None:
        headers["Content-Length"] = str(upload.length)
    if asynchronous:
        return RequestArguments(
            headers=headers,
            content=watch.aguard(aiter(upload), upload.length),
            extensions={"trace": watch.atrace},
        )
    return RequestArguments(
        headers=headers,
        content=watch.guard(iter(upload), upload.length),
        extensions={"trace": watch.trace},
    )


def plain_arguments(request: Request) -> RequestArguments:
    """How httpx is told to send a request whose body, if it has one, is at hand."""
    content = request.body if isinstance(request.body, bytes) else None
    return RequestArguments(headers=dict(request.headers), content=content, extensions={})


@contextmanager
def sending(address: httpx.URL) -> Iterator[None]:
    """Until the answer's head is there: what breaks means that no server answered.

    Raises:
        LinkError: for every error of the transport.
    """
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise LinkError(
            f"No server at {address}: it does not accept a connection", connected=False
        ) from error
    except httpx.ConnectError as error:
        raise LinkError(f"No server at {address}: {error}", connected=False) from error
    except httpx.WriteTimeout as error:
        raise LinkError(f"The server at {address} stopped taking the upload", connected=True) from error
    except httpx.ReadTimeout as error:
        text = f"The server at {address} took the request but does not answer"
        raise LinkError(text, connected=True) from error
    except httpx.TransportError as error:
        raise LinkError(f"The connection to {address} broke: {error}", connected=True) from error


@contextmanager
def receiving() -> Iterator[None]:
    """While an answer's body arrives: what breaks means that the rest is missing.

    Raises:
        LinkError: for every error of the transport.
    """
    try:
        yield
    except httpx.ReadTimeout as error:
        raise LinkError("the server fell silent", connected=True) from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise LinkError(f"the connection broke ({error})", connected=True) from error

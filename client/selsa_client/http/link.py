"""HTTP requests to one server, for asynchronous and for blocking code.

Everything that the client does over HTTP is written once, as coroutines on the methods of `Http`. `AsyncHttp`
runs on an event loop. The methods of `BlockingHttp` block and never suspend, so `run` and `iterate` can drive
the same coroutines without an event loop or a thread, and Ctrl-C, threads and generators behave as in any
blocking code.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx

from selsa_client.http.early_answers import listen_while_writing
from selsa_client.http.protocol import check_api_key, check_server
from selsa_client.http.retries import Attempts, RetryPolicy
from selsa_client.http.upload import UploadSource
from selsa_client.wire.errors import SelsaError

T = TypeVar("T")

# Seconds. A running server accepts a connection at once, so a wrong address fails quickly. Between two
# records a server may decode, queue and detect: allow long, but not for ever, or a dead connection hangs.
DEFAULT_TIMEOUT: Final = httpx.Timeout(connect=5.0, read=600.0, write=120.0, pool=5.0)
# Seconds for a request that is sent while the caller is leaving.
_LEAVING_TIMEOUT: Final = 3.0
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class LinkError(Exception):
    """The network failed. `connected` tells whether there was a connection."""

    def __init__(self, text: str, *, connected: bool) -> None:
        super().__init__(text)
        self.connected = connected


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request; `path` is relative to the server's address and quoted."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | UploadSource | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer. `read` gives the next bytes of its body, b"" at the end."""

    status: int
    headers: Mapping[str, str]
    read: Callable[[], Awaitable[bytes]]


class Http(ABC):
    """One server, and how often its requests are repeated."""

    def __init__(self, client: httpx.Client | httpx.AsyncClient, retries: int) -> None:
        self._client = client
        self.retry = RetryPolicy(retries=retries)

    @abstractmethod
    def send(self, request: Request) -> AbstractAsyncContextManager[Answer]:
        """Send a request and wait for the head of its answer. Leaving the block drops the connection.

        Raises:
            LinkError: the network failed.
            InputError: the video cannot be read.
        """

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait."""

    @abstractmethod
    async def send_while_leaving(self, request: Request) -> None:
        """Send a request and ignore the answer and every failure; takes a few seconds at most."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    def _build(self, request: Request, content: Any, length: int | None) -> httpx.Request:
        headers = dict(request.headers)
        if length is not None:
            headers["Content-Length"] = str(length)
        return self._client.build_request(
            request.method, request.path, params=request.query, headers=headers, content=content
        )


class Call:
    """One call of the client: the server it asks and the attempts it has left.

    A call that is not `repeatable` has one attempt.
    """

    def __init__(self, http: Http, *, repeatable: bool = True) -> None:
        self.attempts = Attempts(http.retry if repeatable else RetryPolicy())
        self.send = http.send
        self.send_while_leaving = http.send_while_leaving
        self._sleep = http.sleep

    async def pause(self, failure: SelsaError) -> None:
        """Wait until the next attempt.

        Raises:
            SelsaError: `failure`, if no attempt is left.
        """
        await self._sleep(self.attempts.delay_after(failure))


class AsyncHttp(Http):
    """`Http` on asyncio or trio."""

    _client: httpx.AsyncClient

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Answer]:  # noqa: D102
        with ExitStack() as stack, _sending(self._client.base_url, request):
            if isinstance(request.body, UploadSource):
                # Opening the source may wait for a slow disk or another server.
                upload = await anyio.to_thread.run_sync(stack.enter_context, request.body.attempt())
                built = self._build(request, aiter(upload), upload.length)
                built.extensions["trace"] = listen_while_writing
            else:
                built = self._build(request, request.body, None)
            response = await self._client.send(built, stream=True)
        chunks = response.aiter_bytes()

        async def read() -> bytes:
            with _receiving():
                return await anext(chunks, b"")

        try:
            yield Answer(response.status_code, response.headers, read)
        finally:
            await response.aclose()

    async def sleep(self, seconds: float) -> None:  # noqa: D102
        await anyio.sleep(seconds)

    async def send_while_leaving(self, request: Request) -> None:  # noqa: D102
        # A cancelled task may still send this.
        with anyio.move_on_after(_LEAVING_TIMEOUT, shield=True), suppress(LinkError):
            async with self.send(request):
                pass

    async def close(self) -> None:  # noqa: D102
        await self._client.aclose()


class BlockingHttp(Http):
    """`Http` on blocking sockets; threads may share it.

    If a server refuses an upload early and hangs up, httpx stops sending and reads the refusal, which the
    operating system still holds.
    """

    _client: httpx.Client

    @asynccontextmanager
    async def send(self, request: Request, timeout: float | None = None) -> AsyncIterator[Answer]:  # noqa: D102
        with ExitStack() as stack, _sending(self._client.base_url, request):
            if isinstance(request.body, UploadSource):
                upload = stack.enter_context(request.body.attempt())
                built = self._build(request, iter(upload), upload.length)
            else:
                built = self._build(request, request.body, None)
            if timeout is not None:
                built.extensions["timeout"] = httpx.Timeout(timeout).as_dict()
            response = self._client.send(built, stream=True)
        chunks = response.iter_bytes()

        async def read() -> bytes:
            with _receiving():
                return next(chunks, b"")

        try:
            yield Answer(response.status_code, response.headers, read)
        finally:
            response.close()

    async def sleep(self, seconds: float) -> None:  # noqa: D102
        time.sleep(seconds)

    async def send_while_leaving(self, request: Request) -> None:  # noqa: D102
        with suppress(LinkError):
            async with self.send(request, _LEAVING_TIMEOUT):
                pass

    async def close(self) -> None:  # noqa: D102
        self._client.close()


def run(awaitable: Awaitable[T]) -> T:
    """The result of a coroutine on `BlockingHttp`, which never suspends."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("a coroutine on BlockingHttp must not suspend")


def iterate(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """The items of an asynchronous generator on `BlockingHttp`, which never suspends."""
    try:
        while True:
            try:
                item = run(anext(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())


def client_settings(
    base_url: str, timeout: httpx.Timeout | float | None, api_key: str | None
) -> dict[str, Any]:
    """The arguments that `httpx.Client` and `httpx.AsyncClient` have in common.

    Raises:
        ValueError: `base_url` is not an http(s) address, or `api_key` is not a valid key.
    """
    headers = {"User-Agent": user_agent()}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {check_api_key(api_key)}"
    return {
        "base_url": base_url,
        "timeout": timeout,
        "headers": headers,
        # A proxy from the environment cannot reach this machine's loopback.
        "trust_env": not is_loopback(check_server(base_url)),
        # A new connection per request: a server may close an idle one at any time, which would break an
        # upload that cannot be repeated. Compared with a video, a handshake costs nothing.
        "limits": httpx.Limits(max_keepalive_connections=0),
    }


def is_loopback(address: str) -> bool:
    """Whether the address is on this machine."""
    return urlsplit(address).hostname in _LOOPBACK


@cache
def user_agent() -> str:
    """The `User-Agent` header."""
    return f"selsa/{version('selsa')} python-httpx/{httpx.__version__}"


@contextmanager
def _sending(address: httpx.URL, request: Request) -> Iterator[None]:
    """Until the head of the answer is here, a failure means that no server answered.

    Raises:
        LinkError: for every error of the transport.
    """
    failed = partial(LinkError, connected=True)
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise LinkError(f"No server at {address}: no connection in time", connected=False) from error
    except httpx.ConnectError as error:
        raise LinkError(f"No server at {address}: {error}", connected=False) from error
    except httpx.WriteTimeout as error:
        raise failed(f"The server at {address} stopped reading the upload") from error
    except httpx.ReadTimeout as error:
        raise failed(f"The server at {address} accepted the request but does not answer") from error
    except httpx.TransportError as error:
        hint = "; it may have refused the upload" if isinstance(request.body, UploadSource) else ""
        reason = str(error) or type(error).__name__
        raise failed(f"The connection to the server at {address} broke: {reason}{hint}") from error


@contextmanager
def _receiving() -> Iterator[None]:
    """While the body of an answer arrives, a failure means that the rest is missing.

    Raises:
        LinkError: for every error of the transport.
    """
    try:
        yield
    except httpx.ReadTimeout as error:
        raise LinkError("the server sent nothing for too long", connected=True) from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise LinkError(
            f"the connection broke ({str(error) or type(error).__name__})", connected=True
        ) from error

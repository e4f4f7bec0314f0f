"""Connections to addresses that clients name. The IP address that was checked is the one that is used."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpcore
import httpx

from selsa_server.jobs.remote.addresses import AddressRules, RemoteAddress, RemoteError, as_ip_address

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
CONNECT_SECONDS: Final = 10.0

# From a host and port to its IP addresses, as text.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_host(host: str, port: int) -> list[str]:
    """The IP addresses of a host name, by the system."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class TransferError(Exception):
    """The other side could not be reached, or broke its connection; another try may succeed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body was not read yet.

    Attributes:
        address: of the request that it answers, after redirects.
        status: HTTP status.
        headers: by their names in lower case.
        body: the bytes as they arrive, with no encoding removed.
    """

    address: RemoteAddress
    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


class _GuardedNetwork(httpcore.AnyIOBackend):
    """Resolves a name once, checks all of its addresses, and connects to one of them."""

    def __init__(self, rules: AddressRules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._addresses(host, port)
        for address in addresses:
            self._rules.check(address, host)
        failed: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in addresses:
            try:
                return await super().connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError("its name has no address")

    async def _addresses(self, host: str, port: int) -> list[Any]:
        literal = as_ip_address(host)
        if literal is not None:
            return [literal]
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"the name {host} is not known") from error
        return [address for text in found if (address := as_ip_address(text)) is not None]


class RemoteConnection:
    """Requests to allowed addresses. Nothing of this server goes along: no proxy, cookie or password."""

    def __init__(self, pool: httpcore.AsyncConnectionPool, rules: AddressRules) -> None:
        self._pool = pool
        self._rules = rules

    @asynccontextmanager
    async def get(
        self, address: RemoteAddress, patience: float, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Answer]:
        """The response to a GET; each redirect is checked as the first address was.

        Args:
            address: from the rules.
            patience: seconds until its head must be there.
            headers: more headers.

        Raises:
            RemoteError: an address is not allowed, or there are too many redirects.
            TransferError: no response.
        """
        for _ in range(MAX_REDIRECTS + 1):
            async with self._request("GET", address, patience, dict(headers or {})) as answer:
                location = answer.headers.get("location")
                if answer.status not in REDIRECTS or location is None:
                    yield answer
                    return
                address = self._rules.follow(address, location)
        raise RemoteError("download_failed", f"{address} was reached by more than {MAX_REDIRECTS} redirects.")

    async def post(
        self, address: RemoteAddress, patience: float, headers: Mapping[str, str], body: bytes
    ) -> int:
        """The status that answers a POST; a redirect is not followed, and the response's body is not read.

        Raises:
            RemoteError: the host has an address that is not allowed.
            TransferError: no response.
        """
        async with self._request("POST", address, patience, headers, body) as answer:
            return answer.status

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        address: RemoteAddress,
        patience: float,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> AsyncIterator[Answer]:
        # From its parts, so that no second parser reads the address differently.
        url = httpcore.URL(
            scheme=address.scheme, host=address.host, port=address.port, target=address.path + address.query
        )
        # With a compressed transfer, byte positions would not be positions in the file.
        own = {"Host": address.authority, "User-Agent": "selsa", "Accept-Encoding": "identity"}
        own |= headers
        if body is not None:
            own["Content-Length"] = str(len(body))
        extensions = {"timeout": {"connect": CONNECT_SECONDS}}
        request = httpcore.Request(
            method, url, headers=list(own.items()), content=body, extensions=extensions
        )
        with _translated(address):
            try:
                with anyio.fail_after(patience):
                    response = await self._pool.handle_async_request(request)
            except TimeoutError:
                raise TransferError(f"no answer within {patience:g} s") from None
        try:
            fields = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
            }
            yield Answer(address, response.status, fields, _body(response, address))
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()


@contextmanager
def _translated(address: RemoteAddress) -> Iterator[None]:
    """The errors of httpcore as those of this module."""
    try:
        yield
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        reason = str(error) or type(error).__name__
        # httpcore's pool raises it `from None`, so the cause is only in the context.
        if isinstance(error.__context__, ssl.SSLCertVerificationError):
            raise RemoteError(
                "download_failed", f"{address} has no valid certificate: {reason[:200]}."
            ) from error
        raise TransferError(reason[:200]) from error


async def _body(response: httpcore.Response, address: RemoteAddress) -> AsyncIterator[bytes]:
    with _translated(address):
        async for chunk in response.aiter_stream():
            yield chunk


class RemoteHosts:
    """Opens connections by the rules.

    Attributes:
        rules: what clients may name.
    """

    def __init__(
        self, rules: AddressRules, resolve: Resolve = resolve_host, tls: ssl.SSLContext | None = None
    ) -> None:
        self.rules = rules
        self._resolve = resolve
        self._tls = tls

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[RemoteConnection]:
        """A connection for one video or one message; nothing of it is kept for others."""
        tls = self._tls or await anyio.to_thread.run_sync(httpx.create_ssl_context)
        pool = httpcore.AsyncConnectionPool(
            tls, max_connections=1, network_backend=_GuardedNetwork(self.rules, self._resolve)
        )
        async with pool:
            yield RemoteConnection(pool, self.rules)

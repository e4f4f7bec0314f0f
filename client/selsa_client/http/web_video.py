"""A video at an http(s) address: passed on as it arrives, never held."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from selsa_client.wire.address import without_secrets
from selsa_client.wire.errors import InputError

if TYPE_CHECKING:
    import httpx

_REDIRECTS: Final = 5
# Seconds: until there is a connection, between two parts, and in all. The last bound is for a server that
# gives a byte now and then; the pace of a good one is that of whoever takes the video.
_CONNECT: Final = 10.0
_SILENCE: Final = 60.0
_IN_ALL: Final = 6 * 3600.0


class WebVideo:
    """A source for `Client.detect` and `jobs.submit`. It is asked for anew for every attempt.

    Redirects are followed, five at the most, and never from https to http. `transport` takes the network's
    place in tests.
    """

    def __init__(self, address: str, *, transport: "httpx.BaseTransport | None" = None) -> None:
        self._address = address
        self._transport = transport

    @contextmanager
    def opened(self) -> Iterator["_Download"]:
        """The video from its beginning.

        Raises:
            InputError: it cannot be had.
        """
        import httpx

        name = without_secrets(self._address)
        settings = httpx.Timeout(_SILENCE, connect=_CONNECT)
        try:
            with (
                httpx.Client(
                    follow_redirects=True,
                    max_redirects=_REDIRECTS,
                    timeout=settings,
                    transport=self._transport,
                    event_hooks={"response": [_check_redirect]},
                    # Bytes as they are: of a compressed answer the length would be another.
                    headers={"Accept-Encoding": "identity"},
                ) as http,
                http.stream("GET", self._address) as response,
            ):
                if response.status_code != HTTPStatus.OK:
                    said = f"{response.status_code} {response.reason_phrase}".strip()
                    raise InputError(f"Cannot read {name}: its server answers {said}")
                yield _Download(response, name)
        except httpx.TooManyRedirects as error:
            raise InputError(f"Cannot read {name}: it redirects more than {_REDIRECTS} times") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InputError(f"Cannot read {name}: {error}") from error


class _Download:
    """A response's body, to be read."""

    def __init__(self, response: "httpx.Response", name: str) -> None:
        plain = response.headers.get("content-encoding", "identity") == "identity"
        declared = response.headers.get("content-length", "")
        self.length = int(declared) if plain and declared.isdecimal() else None
        self._name = name
        self._chunks = response.iter_bytes()
        self._rest = memoryview(b"")
        self._until = time.monotonic() + _IN_ALL

    def read(self, size: int, /) -> bytes:
        """Between one byte and `size`; empty at the end.

        Raises:
            InputError: it stops before its end, or takes too long.
        """
        import httpx

        if not self._rest:
            if time.monotonic() > self._until:
                raise InputError(
                    f"Cannot read {self._name} on: it takes more than {_IN_ALL / 3600:.0f} hours"
                )
            try:
                self._rest = memoryview(next(self._chunks, b""))
            except httpx.HTTPError as error:
                raise InputError(f"Cannot read {self._name} on: {error or type(error).__name__}") from error
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)


def _check_redirect(response: "httpx.Response") -> None:
    if not response.has_redirect_location:
        return
    target = response.url.join(response.headers["Location"])
    if response.url.scheme == "https" and target.scheme != "https":
        name = without_secrets(str(response.url))
        raise InputError(f"Cannot read {name}: it redirects from https to {target.scheme}")

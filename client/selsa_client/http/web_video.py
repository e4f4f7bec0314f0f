"""A video at an http(s) address: passed on as it arrives, never held whole."""

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
# Seconds: to connect, between two parts, and in total. The total bounds a server that sends a byte now and
# then; a download otherwise runs at the speed of the upload.
_CONNECT: Final = 10.0
_SILENCE: Final = 60.0
_TOTAL: Final = 6 * 3600.0


class WebVideo:
    """A source for `Client.detect` and `jobs.submit`, downloaded again for every attempt.

    At most five redirects are followed, and none from https to http. `transport` replaces the network in
    tests.

    Example:
        client.detect(WebVideo("https://example.org/video.mp4"))
    """

    def __init__(self, address: str, *, transport: "httpx.BaseTransport | None" = None) -> None:
        self._address = address
        self._transport = transport

    @contextmanager
    def opened(self) -> Iterator["_Download"]:
        """Open the video at its start.

        Raises:
            InputError: it cannot be downloaded.
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
                    # A compressed answer would have another length than the video.
                    headers={"Accept-Encoding": "identity"},
                ) as http,
                http.stream("GET", self._address) as response,
            ):
                if response.status_code != HTTPStatus.OK:
                    said = f"{response.status_code} {response.reason_phrase}".strip()
                    raise InputError(f"Cannot read {name}: its server answered {said}")
                yield _Download(response, name)
        except httpx.TooManyRedirects as error:
            raise InputError(f"Cannot read {name}: it redirects more than {_REDIRECTS} times") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InputError(f"Cannot read {name}: {error}") from error


class _Download:
    """The body of a response as a file."""

    def __init__(self, response: "httpx.Response", name: str) -> None:
        plain = response.headers.get("content-encoding", "identity") == "identity"
        declared = response.headers.get("content-length", "")
        self.length = int(declared) if plain and declared.isdecimal() else None
        self._name = name
        self._chunks = response.iter_bytes()
        self._rest = memoryview(b"")
        self._until = time.monotonic() + _TOTAL

    def read(self, size: int, /) -> bytes:
        """The next bytes, `size` at most; b"" at the end.

        Raises:
            InputError: the download breaks or takes too long.
        """
        import httpx

        if not self._rest:
            if time.monotonic() > self._until:
                hours = _TOTAL / 3600
                raise InputError(f"Downloading {self._name} failed: it took more than {hours:.0f} hours")
            try:
                self._rest = memoryview(next(self._chunks, b""))
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
                raise InputError(f"Downloading {self._name} failed: {reason}") from error
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)


def _check_redirect(response: "httpx.Response") -> None:
    if not response.has_redirect_location:
        return
    target = response.url.join(response.headers["Location"])
    if response.url.scheme == "https" and target.scheme != "https":
        name = without_secrets(str(response.url))
        raise InputError(f"Cannot read {name}: it redirects from https to {target.scheme}")

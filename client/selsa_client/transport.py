"""What both clients ask of httpx: its settings, and its exceptions as ours."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Final, TypedDict
from urllib.parse import urlsplit

import httpx

from selsa_client.early_answer import AnswerWatch
from selsa_client.errors import BusyError, ServerUnreachableError
from selsa_client.protocol import RetryPolicy, check_server, detect_headers, detect_query
from selsa_client.records import RecordReader
from selsa_client.upload import Upload, UploadSource
from selsa_server.schema import DetectParams

__all__ = [
    "DEFAULT_TIMEOUT",
    "ClientSettings",
    "DetectionCall",
    "client_settings",
    "receiving",
    "sending",
]

# Seconds. A server that is there accepts a connection at once, so a wrong address is told soon. Between two
# records a server may decode, wait its turn and detect: long, but not for ever, or a dead link would hang.
DEFAULT_TIMEOUT: Final = httpx.Timeout(connect=5.0, read=600.0, write=120.0, pool=5.0)

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ClientSettings(TypedDict):
    """The arguments that `httpx.Client` and `httpx.AsyncClient` have in common."""

    base_url: str
    timeout: httpx.Timeout | float | None
    headers: dict[str, str]
    trust_env: bool
    limits: httpx.Limits


def client_settings(base_url: str, timeout: httpx.Timeout | float | None) -> ClientSettings:
    """The settings of either client.

    Raises:
        ValueError: `base_url` is not an http(s) address.
    """
    # No proxy of the environment can reach this machine's own loopback.
    remote = urlsplit(check_server(base_url)).hostname not in _LOOPBACK
    return ClientSettings(
        base_url=base_url,
        timeout=timeout,
        headers={"User-Agent": _user_agent()},
        trust_env=remote,
        # A connection per request: `AnswerWatch` must know it, and beside a video a handshake is nothing.
        limits=httpx.Limits(max_keepalive_connections=0),
    )


@cache
def _user_agent() -> str:
    """Who asks, as the server's log shows it."""
    return f"selsa/{version('selsa')} python-httpx/{httpx.__version__}"


@dataclass(frozen=True, kw_only=True)
class DetectionCall:
    """What one stream asks for."""

    source: UploadSource
    params: DetectParams
    retry: RetryPolicy

    def request(self, http: httpx.Client | httpx.AsyncClient, upload: Upload) -> httpx.Request:
        """`POST /detect` for one attempt."""
        watch = AnswerWatch()
        plain = isinstance(http, httpx.Client)
        return http.build_request(
            "POST",
            "/detect",
            params=detect_query(self.params),
            headers=detect_headers(upload.length, _user_agent()),
            content=watch.guard(iter(upload), upload.length)
            if plain
            else watch.aguard(aiter(upload), upload.length),
            extensions={"trace": watch.trace if plain else watch.atrace},
        )

    def wait(self, attempt: int, error: BusyError) -> float:
        """Seconds before the next attempt; raises `error` where there is none."""
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        delay = self.retry.delay(attempt, error, jitter=jitter) if self.source.repeatable else None
        if delay is None:
            raise error
        return delay


@contextmanager
def sending(address: httpx.URL) -> Iterator[None]:
    """Until the answer's head is there: what breaks means that no server answered.

    Raises:
        ServerUnreachableError: for every error of the transport.
    """
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ServerUnreachableError(f"No server at {address}: it does not accept a connection") from error
    except httpx.ConnectError as error:
        raise ServerUnreachableError(f"No server at {address}: {error}") from error
    except httpx.WriteTimeout as error:
        raise ServerUnreachableError(f"The server at {address} stopped taking the upload") from error
    except httpx.ReadTimeout as error:
        raise ServerUnreachableError(f"The server at {address} took the video but does not answer") from error
    except httpx.TransportError as error:
        raise ServerUnreachableError(f"The connection to {address} broke: {error}") from error


@contextmanager
def receiving(reader: RecordReader) -> Iterator[None]:
    """While records arrive: what breaks means that the rest is missing.

    Raises:
        IncompleteError: for every error of the transport.
    """
    try:
        yield
    except httpx.ReadTimeout as error:
        raise reader.incomplete("the server fell silent") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise reader.incomplete(f"the connection broke ({error})") from error

"""The language between what is said over HTTP and the two transports that carry it.

What the client does is written once, as generators: they yield steps, and a driver of `drivers` or
`async_drivers` takes each step on the network and sends back what came of it.

    Send(request)    -> Answer   send a request, wait for the head of its answer
    Receive()        -> bytes    more of the answer's body; empty at its end
    HangUp()         -> None     the rest of the answer is not wanted
    Pause(seconds)   -> None     wait
    AtExit(request)  -> None     if the generator is left before its end, send this; None: nothing any more
    Give(item)       -> None     hand an item to the caller

A step that fails on the network raises `LinkError` in the generator.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar

from selsa_client.http.upload import UploadSource

T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request as data.

    Attributes:
        path: relative to the server's address, quoted.
        body: bytes, or a video that is read as it is sent.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | UploadSource | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer; `headers` are case-insensitive."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Send:
    """See the module."""

    request: Request


@dataclass(frozen=True, slots=True)
class Receive:
    """See the module."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """See the module."""


@dataclass(frozen=True, slots=True)
class Pause:
    """See the module."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AtExit:
    """See the module."""

    request: Request | None


@dataclass(frozen=True, slots=True)
class Give(Generic[T_co]):
    """See the module."""

    item: T_co


class LinkError(Exception):
    """The network failed. `connected` tells whether there was a connection; `str()` says what happened."""

    def __init__(self, text: str, *, connected: bool) -> None:
        super().__init__(text)
        self.connected = connected


Step: TypeAlias = Send | Receive | HangUp | Pause | AtExit
Reply: TypeAlias = Answer | bytes | None
# A program that asks and has one result, and one that gives items on its way.
Asking: TypeAlias = Generator[Step, Reply, R]
Program: TypeAlias = Generator[Step | Give[T], Reply, None]


def send(request: Request) -> Asking[Answer]:
    """Send a request and wait for the head of its answer."""
    answer = yield Send(request)
    assert isinstance(answer, Answer)
    return answer


def receive() -> Asking[bytes]:
    """More of the answer's body; empty at its end."""
    chunk = yield Receive()
    assert isinstance(chunk, bytes)
    return chunk

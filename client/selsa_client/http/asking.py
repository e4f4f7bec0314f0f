"""One request and its whole answer, or the error that it stands for."""

from collections.abc import Container
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from selsa_client.http.exchange import Answer, Asking, HangUp, LinkError, Pause, Request, receive, send
from selsa_client.http.patience import Patience
from selsa_client.http.protocol import ERROR_BODY_LIMIT, error_from_response
from selsa_client.wire.errors import (
    BusyError,
    ResponseError,
    SelsaError,
    ServerUnreachableError,
    WireFormatError,
)

OK: Final = frozenset({HTTPStatus.OK})

# Bytes of an answer that is held in memory.
_LIMIT: Final = 4 << 20

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer with its body."""

    status: int
    body: bytes


def ask(
    request: Request,
    patience: Patience,
    *,
    allowed: Container[int] = OK,
    idempotent: bool = True,
    was_there: bool = False,
) -> Asking[WholeAnswer]:
    """Send a request and read its answer.

    Again when the server is busy; if the request is `idempotent`, when the connection breaks; and if the
    server `was_there` a moment ago, when it is not: an address that never answered is told at once.

    Raises:
        ServerUnreachableError: no server answers.
        ResponseError: the answer's status is not one of `allowed`.
        WireFormatError: the answer is too long.
    """
    while True:
        failure: SelsaError
        try:
            answer = yield from send(request)
            if answer.status in allowed:
                return WholeAnswer(answer.status, (yield from _body(_LIMIT)))
            raise (yield from refusal(answer))
        except BusyError as error:
            failure = error
        except LinkError as error:
            failure = ServerUnreachableError(str(error))
            if not idempotent or not (error.connected or was_there):
                raise failure from error
        yield Pause(patience.wait(failure))


def refusal(answer: Answer) -> Asking[ResponseError]:
    """The error that an answer stands for; reads its body."""
    body = b""
    while len(body) < ERROR_BODY_LIMIT and (chunk := (yield from receive())):
        body += chunk
    yield HangUp()
    return error_from_response(answer.status, answer.headers, body)


def parsed(model: type[_Model], body: bytes) -> _Model:
    """A body as what it should be.

    Raises:
        WireFormatError: it is something else.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise WireFormatError(f"The answer is no {model.__name__}; is this a selsa server?") from error


def _body(limit: int) -> Asking[bytes]:
    parts = bytearray()
    while chunk := (yield from receive()):
        parts += chunk
        if len(parts) > limit:
            yield HangUp()
            raise WireFormatError(f"The answer is longer than {limit} bytes; is this a selsa server?")
    return bytes(parts)

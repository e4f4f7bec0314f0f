"""One request and its whole answer, or the error that the answer means."""

from collections.abc import Container
from http import HTTPStatus
from typing import Final, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from selsa_client.http.link import Answer, Call, LinkError, Request
from selsa_client.http.protocol import ERROR_BODY_LIMIT, error_from_response
from selsa_client.wire.errors import (
    BusyError,
    ResponseError,
    SelsaError,
    ServerUnreachableError,
    WireFormatError,
)

# Bytes of an answer that is held in memory.
_LIMIT: Final = 4 << 20

_Model = TypeVar("_Model", bound=BaseModel)


class WholeAnswer(NamedTuple):
    """An answer with its body."""

    status: int
    body: bytes


async def ask(
    call: Call,
    request: Request,
    *,
    allowed: Container[int] = (HTTPStatus.OK,),
    idempotent: bool = True,
    was_reachable: bool = False,
) -> WholeAnswer:
    """Send a request and read its answer.

    The request is repeated if the server is busy; if the connection breaks and the request is `idempotent`;
    and if no server answers although it `was_reachable` before. An address that never answered fails at once.

    Raises:
        ServerUnreachableError: no server answers.
        ResponseError: the answer's status is not one of `allowed`.
        WireFormatError: the answer is too long.
    """
    while True:
        failure: SelsaError
        try:
            async with call.send(request) as answer:
                if answer.status not in allowed:
                    raise await refusal(answer)
                body = bytearray()
                while chunk := await answer.read():
                    body += chunk
                    if len(body) > _LIMIT:
                        raise WireFormatError(
                            f"The answer is longer than {_LIMIT} bytes; is this a selsa server?"
                        )
                return WholeAnswer(answer.status, bytes(body))
        except BusyError as error:
            failure = error
        except LinkError as error:
            failure = ServerUnreachableError(str(error))
            if not idempotent or not (error.connected or was_reachable):
                raise failure from error
        await call.pause(failure)


async def refusal(answer: Answer) -> ResponseError:
    """The error that an answer means; reads its body."""
    body = b""
    while len(body) < ERROR_BODY_LIMIT and (chunk := await answer.read()):
        body += chunk
    return error_from_response(answer.status, answer.headers, body)


def parsed(model: type[_Model], body: bytes) -> _Model:
    """A body as an instance of a model.

    Raises:
        WireFormatError: it is not one.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise WireFormatError(f"The answer is no {model.__name__}; is this a selsa server?") from error

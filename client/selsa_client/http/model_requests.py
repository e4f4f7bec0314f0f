"""What is said about models: `/model` and `/v1/models` as requests."""

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from selsa_client.http.asking import OK, ask, parsed
from selsa_client.http.exchange import Asking, Request
from selsa_client.http.patience import Patience
from selsa_client.wire.errors import WireFormatError
from selsa_server.schema.detect import ModelInfo
from selsa_server.schema.models import LoadModel, ModelStatus

_PROBED: Final = frozenset({HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE})
_LOADING: Final = frozenset({HTTPStatus.ACCEPTED})
_UNLOADED: Final = frozenset({HTTPStatus.NO_CONTENT})


def is_ready(patience: Patience) -> Asking[bool]:
    """Whether the server takes videos now."""
    answer = yield from ask(Request(method="GET", path="/readyz"), patience, allowed=_PROBED)
    return answer.status == HTTPStatus.OK


def model_info(patience: Patience) -> Asking[ModelInfo]:
    """The default model."""
    answer = yield from ask(Request(method="GET", path="/model"), patience)
    return parsed(ModelInfo, answer.body)


def list_models(patience: Patience) -> Asking[list[ModelStatus]]:
    """All models and how they are; the first is the default."""
    answer = yield from ask(Request(method="GET", path="/v1/models"), patience)
    try:
        return TypeAdapter(list[ModelStatus]).validate_json(answer.body)
    except ValidationError as error:
        raise WireFormatError("The answer is no list of models; is this a selsa server?") from error


def model_status(name: str, patience: Patience) -> Asking[ModelStatus]:
    """How a model is."""
    answer = yield from ask(Request(method="GET", path=_path(name)), patience)
    return parsed(ModelStatus, answer.body)


def load_model(name: str, path: str, patience: Patience) -> Asking[ModelStatus]:
    """Begin to load a bundle under a name."""
    request = Request(
        method="PUT",
        path=_path(name),
        headers={"Content-Type": "application/json"},
        body=LoadModel(path=path).model_dump_json().encode(),
    )
    answer = yield from ask(request, patience, allowed=_LOADING, idempotent=False)
    return parsed(ModelStatus, answer.body)


def make_default(name: str, patience: Patience) -> Asking[ModelStatus]:
    """Make a model the default."""
    request = Request(method="PUT", path=f"{_path(name)}/default")
    answer = yield from ask(request, patience, allowed=OK)
    return parsed(ModelStatus, answer.body)


def unload_model(name: str, patience: Patience) -> Asking[None]:
    """Unload a model."""
    request = Request(method="DELETE", path=_path(name))
    yield from ask(request, patience, allowed=_UNLOADED, idempotent=False)


def _path(name: str) -> str:
    return f"/v1/models/{quote(name, safe='')}"

"""`/v1/models`: bundles that are loaded, replaced and unloaded while the server runs."""

from typing import Annotated, Any, Final

import anyio
from fastapi import APIRouter, Path, Request, Response
from pydantic import ValidationError

from selsa_server.api.openapi import schema_of
from selsa_server.api.problems import problem_responses
from selsa_server.errors import RequestError
from selsa_server.schema.models import MODEL_NAME_PATTERN, LoadModel, ModelStatus
from selsa_server.service.model_loading import ModelLoading

MAX_BODY_BYTES: Final = 4096
JSON: Final = "application/json"
REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {JSON: {"schema": schema_of(LoadModel)}},
}
CHANGE_CODES: Final = (
    "models_fixed",
    "model_not_found",
    "invalid_parameter",
    "draining",
    "not_ready",
    "origin_not_allowed",
)
LOAD_CODES: Final = (
    "malformed_request",
    "empty_body",
    "models_fixed",
    "request_timeout",
    "model_loading",
    "body_too_large",
    "unsupported_media_type",
    "invalid_parameter",
    "invalid_bundle",
    "draining",
    "not_ready",
    "models_full",
    "origin_not_allowed",
)
ModelName = Annotated[str, Path(pattern=MODEL_NAME_PATTERN, description="the model's name on this server")]


def models_router(loading: ModelLoading, timeout: float) -> APIRouter:
    """The routes of models.

    Args:
        loading: loads and unloads models.
        timeout: seconds in which the body must arrive.
    """
    router = APIRouter(prefix="/v1/models", tags=["models"])
    _add_views(router, loading)
    _add_load(router, loading, timeout)
    _add_changes(router, loading)
    return router


def _add_views(router: APIRouter, loading: ModelLoading) -> None:
    @router.get(
        "",
        summary="All models and their states; the first is the default",
        responses=problem_responses("invalid_parameter"),
    )
    async def list_models() -> list[ModelStatus]:
        return loading.all()

    @router.get(
        "/{name}",
        summary="The state of a model",
        responses=problem_responses("model_not_found", "invalid_parameter"),
    )
    async def get_model(name: ModelName) -> ModelStatus:
        return loading.status(name)


def _add_load(router: APIRouter, loading: ModelLoading, timeout: float) -> None:
    @router.put(
        "/{name}",
        summary="Load a bundle under a new or existing name",
        status_code=202,
        openapi_extra={"requestBody": REQUEST_BODY},
        responses={
            202: {"description": "The bundle is a valid one and is being loaded."},
            **problem_responses(*LOAD_CODES),
        },
    )
    async def load_model(request: Request, name: ModelName) -> ModelStatus:
        """The bundle must lie below the server's `bundle_dir`. It is verified at once and loaded after the
        response: the state goes from `loading` to `ready` or `failed`. A model of that name serves until the
        new one has run a frame. Then new requests get the new model, running requests finish on the old one,
        and its memory is freed. A restart does not load the model again.
        """
        wanted = _parsed(await _body(request, timeout))
        await loading.load(name, wanted.path)
        return loading.status(name)


def _add_changes(router: APIRouter, loading: ModelLoading) -> None:
    @router.put(
        "/{name}/default",
        summary="Make a model the default",
        responses=problem_responses(*CHANGE_CODES),
    )
    async def set_default_model(name: ModelName) -> ModelStatus:
        """Requests, jobs and streams that name no model get this one."""
        loading.make_default(name)
        return loading.status(name)

    @router.delete(
        "/{name}",
        status_code=204,
        response_class=Response,
        summary="Unload a model",
        responses=problem_responses(*CHANGE_CODES, "model_is_default", "model_loading"),
    )
    async def unload_model(name: ModelName) -> None:
        """The model gets no new work. Requests, running jobs and streams finish; until then it is listed as
        `unloading`. Jobs that wait for it fail with `model_gone`. The default cannot be unloaded.
        """
        loading.unload(name)


async def _body(request: Request, timeout: float) -> bytes:
    """The body, at most `MAX_BODY_BYTES` of it; the framework would read it without a limit."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != JSON:
        raise RequestError(
            "unsupported_media_type",
            f"Content-Type is {given[:100]!r}; this address takes {JSON}.",
            parameter="Content-Type",
            allowed=JSON,
        )
    body = bytearray()
    try:
        with anyio.fail_after(timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise RequestError(
                        "body_too_large", f"The body has more than the {MAX_BODY_BYTES} bytes allowed."
                    )
    except TimeoutError as error:
        raise RequestError(
            "request_timeout", f"The body did not come within {timeout:g} s; send it again."
        ) from error
    if not body:
        raise RequestError("empty_body", 'The body is empty; send {"path": "..."}.')
    return bytes(body)


def _parsed(body: bytes) -> LoadModel:
    try:
        return LoadModel.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:100] or "the document"
        raise RequestError(
            "malformed_request", f"The body is wrong at {where}: {first['msg']}.", parameter=where
        ) from error

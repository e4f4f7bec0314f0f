"""Models of a server: `client.models`. Named bundles, loaded and unloaded while the server runs."""

from http import HTTPStatus
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from selsa_client.http.asking import ask, parsed
from selsa_client.http.link import Call, Http, Request, run
from selsa_client.wire.errors import WireFormatError
from selsa_server.schema.models import LoadModel, ModelStatus


class AsyncModels:
    """`Models` for asynchronous code."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def all(self) -> list[ModelStatus]:
        """As `Models.all`."""
        answer = await ask(Call(self._http), Request(method="GET", path="/v1/models"))
        try:
            return TypeAdapter(list[ModelStatus]).validate_json(answer.body)
        except ValidationError as error:
            raise WireFormatError("The answer is no list of models; is this a selsa server?") from error

    async def get(self, name: str) -> ModelStatus:
        """As `Models.get`."""
        answer = await ask(Call(self._http), Request(method="GET", path=_path(name)))
        return parsed(ModelStatus, answer.body)

    async def load(self, name: str, path: str) -> ModelStatus:
        """As `Models.load`."""
        body = LoadModel(path=path).model_dump_json().encode()
        request = Request(
            method="PUT", path=_path(name), headers={"Content-Type": "application/json"}, body=body
        )
        answer = await ask(Call(self._http), request, allowed=(HTTPStatus.ACCEPTED,), idempotent=False)
        return parsed(ModelStatus, answer.body)

    async def make_default(self, name: str) -> ModelStatus:
        """As `Models.make_default`."""
        answer = await ask(Call(self._http), Request(method="PUT", path=f"{_path(name)}/default"))
        return parsed(ModelStatus, answer.body)

    async def unload(self, name: str) -> None:
        """As `Models.unload`."""
        request = Request(method="DELETE", path=_path(name))
        await ask(Call(self._http), request, allowed=(HTTPStatus.NO_CONTENT,), idempotent=False)


class Models:
    """`/v1/models` of a server. Every method raises `SelsaError`s as `Client.detect` does.

    Example:
        print([model.name for model in client.models.all() if model.state == "ready"])
    """

    def __init__(self, models: AsyncModels) -> None:
        self._models = models

    def all(self) -> list[ModelStatus]:
        """The state of all models; the first is the default."""
        return run(self._models.all())

    def get(self, name: str) -> ModelStatus:
        """The state of a model."""
        return run(self._models.get(name))

    def load(self, name: str, path: str) -> ModelStatus:
        """Start to load the bundle in a folder of the server; poll `get` for `ready` or `failed`."""
        return run(self._models.load(name, path))

    def make_default(self, name: str) -> ModelStatus:
        """Use this model for requests that name none."""
        return run(self._models.make_default(name))

    def unload(self, name: str) -> None:
        """Unload a model after its running requests are done."""
        run(self._models.unload(name))


def _path(name: str) -> str:
    return f"/v1/models/{quote(name, safe='')}"

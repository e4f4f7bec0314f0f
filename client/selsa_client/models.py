"""Models of a server: `client.models`. Bundles by name, loaded and unloaded while the server runs."""

from collections.abc import Callable

from selsa_client.http.async_drivers import AsyncDriver
from selsa_client.http.drivers import Driver
from selsa_client.http.model_requests import list_models, load_model, make_default, model_status, unload_model
from selsa_client.http.patience import Patience
from selsa_server.schema.models import ModelStatus


class Models:
    """`/v1/models` of a server. Every method raises `SelsaError`s as `Client.detect` does."""

    def __init__(self, driver: Driver, patience: Callable[[], Patience]) -> None:
        self._driver = driver
        self._patience = patience

    def all(self) -> list[ModelStatus]:
        """All models and how they are; the first is the default."""
        return self._driver.ask(list_models(self._patience()))

    def get(self, name: str) -> ModelStatus:
        """How a model is."""
        return self._driver.ask(model_status(name, self._patience()))

    def load(self, name: str, path: str) -> ModelStatus:
        """Begin to load the bundle in a folder of the server; `get` tells when it is `ready`, or `failed`."""
        return self._driver.ask(load_model(name, path, self._patience()))

    def make_default(self, name: str) -> ModelStatus:
        """From now on, requests that name no model get this one."""
        return self._driver.ask(make_default(name, self._patience()))

    def unload(self, name: str) -> None:
        """Unload a model; work inside is finished first."""
        self._driver.ask(unload_model(name, self._patience()))


class AsyncModels:
    """`Models` for asynchronous code."""

    def __init__(self, driver: AsyncDriver, patience: Callable[[], Patience]) -> None:
        self._driver = driver
        self._patience = patience

    async def all(self) -> list[ModelStatus]:
        """As `Models.all`."""
        return await self._driver.ask(list_models(self._patience()))

    async def get(self, name: str) -> ModelStatus:
        """As `Models.get`."""
        return await self._driver.ask(model_status(name, self._patience()))

    async def load(self, name: str, path: str) -> ModelStatus:
        """As `Models.load`."""
        return await self._driver.ask(load_model(name, path, self._patience()))

    async def make_default(self, name: str) -> ModelStatus:
        """As `Models.make_default`."""
        return await self._driver.ask(make_default(name, self._patience()))

    async def unload(self, name: str) -> None:
        """As `Models.unload`."""
        await self._driver.ask(unload_model(name, self._patience()))

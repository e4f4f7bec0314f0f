"""The models of one server by name. Each has its own engines; they share admission."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.errors import DetectError, ParameterError
from selsa_server.service.detection import DetectionService


class ModelError(DetectError):
    """There is no such model, it may not be changed, or a bundle cannot be loaded."""

    codes = frozenset(
        {
            "models_fixed",
            "model_not_found",
            "model_is_default",
            "model_loading",
            "models_full",
            "invalid_bundle",
        }
    )


@dataclass(slots=True, eq=False, kw_only=True)
class Model:
    """A bundle that is served under a name, until its engines are closed.

    Attributes:
        name: the value of `model` that selects it.
        service: detects with it.
        inside: number of requests, jobs and streams that use it.
    """

    name: str
    service: DetectionService
    inside: int = 0

    @property
    def bundle(self) -> LoadedBundle:
        """The bundle."""
        return self.service.pipeline.bundle


class Models:
    """The models that requests can name. The first one is the default until another one becomes it.

    A replaced or removed model gets no new work, and is closed when its last request has ended. Call
    everything here from the event loop.

    Args:
        services: by name, at least one.
        on_available: called with each model that requests can use from now on.
        on_retired: called with each model that gets no new work.
    """

    def __init__(
        self,
        services: Mapping[str, DetectionService],
        *,
        on_available: Callable[[Model], None] = lambda _: None,
        on_retired: Callable[[Model], None] = lambda _: None,
    ) -> None:
        self._on_available = on_available
        self._on_retired = on_retired
        self._ready: dict[str, Model] = {}
        self._retired: list[Model] = []
        self._unused = anyio.Event()
        self._default = next(iter(services))
        for name, service in services.items():
            self.put(name, service)

    def __contains__(self, name: str) -> bool:
        return name in self._ready

    @property
    def default(self) -> Model:
        """The model for requests that do not name one."""
        return self._ready[self._default]

    @property
    def ready(self) -> dict[str, Model]:
        """The available models by name, the default first."""
        return {self._default: self.default} | self._ready

    @property
    def retired(self) -> tuple[Model, ...]:
        """Models that get no new work and whose engines are not closed yet."""
        return tuple(self._retired)

    def named(self, name: str | None) -> Model:
        """The model of this name, or the default.

        Raises:
            ParameterError: there is none.
        """
        if name is None:
            return self.default
        if name not in self._ready:
            allowed = ", ".join(self.ready)
            raise ParameterError(
                "model", f"There is no model {name[:100]!r}; this server has {allowed}.", allowed
            )
        return self._ready[name]

    @contextmanager
    def using(self, name: str | None) -> Iterator[Model]:
        """The model of this name, or the default; its engines stay open inside the block.

        Raises:
            ParameterError: there is none.
        """
        model = self.named(name)
        model.inside += 1
        try:
            yield model
        finally:
            model.inside -= 1
            if model.inside == 0:
                self._unused.set()

    def put(self, name: str, service: DetectionService) -> None:
        """Serve a model under `name`; the previous model of that name is retired."""
        if name in self._ready:
            self._retire(name)
        model = self._ready[name] = Model(name=name, service=service)
        self._on_available(model)

    def remove(self, name: str) -> None:
        """Retire an available model, which must not be the default."""
        assert name != self._default, "a server always has a default"
        self._retire(name)

    def make_default(self, name: str) -> None:
        """Make an available model the default."""
        assert name in self._ready, "the default is always ready"
        self._default = name

    async def close_unused(self) -> None:
        """Close retired models after their last request; runs until it is cancelled."""
        while True:
            self._unused = unused = anyio.Event()
            await self._close_retired()
            await unused.wait()

    def close(self) -> None:
        """Close all engines at once."""
        for model in (*self._ready.values(), *self._retired):
            model.service.engines.close()

    async def _close_retired(self) -> None:
        for model in [each for each in self._retired if each.inside == 0]:
            await anyio.to_thread.run_sync(model.service.engines.close)
            self._retired.remove(model)

    def _retire(self, name: str) -> None:
        model = self._ready.pop(name)
        self._retired.append(model)
        self._on_retired(model)
        self._unused.set()

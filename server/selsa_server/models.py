"""The models of one server by name, each with its own engines; the first one is the default."""

from collections.abc import Mapping

from selsa_bundle.load import LoadedBundle
from selsa_server.errors import ParameterError
from selsa_server.record_run import DetectionService

__all__ = ["Models"]


class Models:
    """What can be asked for as `model`. They share admission, not engines."""

    def __init__(self, services: Mapping[str, DetectionService]) -> None:
        self._services = dict(services)

    @property
    def default(self) -> DetectionService:
        """The model of those who name none."""
        return next(iter(self._services.values()))

    @property
    def bundles(self) -> dict[str, LoadedBundle]:
        """What is served, by name."""
        return {name: service.pipeline.bundle for name, service in self._services.items()}

    def named(self, name: str | None) -> DetectionService:
        """The model of this name, or the default.

        Raises:
            ParameterError: there is none.
        """
        if name is None:
            return self.default
        if name not in self._services:
            allowed = ", ".join(self._services)
            raise ParameterError("model", f"There is no model {name!r}; this server has {allowed}.", allowed)
        return self._services[name]

    def close(self) -> None:
        """Close all engines."""
        for service in self._services.values():
            service.engines.close()

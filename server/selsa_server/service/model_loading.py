"""Loading and unloading of models while the server runs: a bundle is loaded, warmed up, then offered.

Terms and states are those of Triton's model repository. Running requests are not affected.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from selsa_bundle.errors import BundleError, EngineError
from selsa_bundle.runtimes.load import verify_bundle
from selsa_server.errors import DetectError, EngineFailureError
from selsa_server.schema.detect import Problem
from selsa_server.schema.models import ModelState, ModelStatus
from selsa_server.schema.problems import problem_of
from selsa_server.service.bundle_folder import BundleFolder
from selsa_server.service.detection import DetectionService
from selsa_server.service.draining import Drain
from selsa_server.service.models import Model, ModelError, Models


@dataclass(slots=True, eq=False)
class _Attempt:
    """A load under one name, running or failed."""

    failure: Problem | None = None


class ModelLoading:
    """Loads, unloads and describes models. Call it from the event loop; it loads in a thread.

    Args:
        folder: holds the bundles that may be loaded; None: models are fixed.
        build: builds a warmed-up service from a name and a bundle's folder; runs in a thread, raises
            BundleError.
        drain: nothing is loaded after it has started.
        most: largest number of names.
    """

    def __init__(
        self,
        models: Models,
        folder: BundleFolder | None,
        build: Callable[[str, Path], DetectionService],
        drain: Drain,
        most: int,
    ) -> None:
        self._models = models
        self._folder = folder
        self._build = build
        self._drain = drain
        self._most = most
        self._attempts: dict[str, _Attempt] = {}
        # One at a time: two loads would take the memory of both before the first can serve.
        self._threads = anyio.CapacityLimiter(1)
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load models and close unused ones while the context lasts."""
        async with anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self._models.close_unused)
            try:
                yield
            finally:
                self._group = None
                group.cancel_scope.cancel()

    @property
    def states(self) -> dict[str, ModelState]:
        """The state of every name, the default first."""
        retired = [model.name for model in self._models.retired]
        return {name: self._state(name) for name in (*self._models.ready, *self._attempts, *retired)}

    def all(self) -> list[ModelStatus]:
        """Every name, the default first."""
        return [self.status(name) for name in self.states]

    def status(self, name: str) -> ModelStatus:
        """The state of a name.

        Raises:
            ModelError: there is no such name.
        """
        attempt = self._attempts.get(name)
        users = [model for model in self._users() if model.name == name]
        if attempt is None and not users:
            raise _not_found(name)
        latest = users[-1] if users else None
        bundle = None if latest is None else latest.bundle
        state = self._state(name)
        return ModelStatus(
            name=name,
            state=state,
            default=name == self._models.default.name,
            replacing=state == "ready" and attempt is not None and attempt.failure is None,
            requests=sum(model.inside for model in users),
            bundle=None if bundle is None else bundle.digest,
            classes=None if bundle is None else len(bundle.manifest.classes),
            provider=None if bundle is None else bundle.engines.info.provider,
            precision=None if bundle is None else bundle.engines.info.precision,
            error=None if attempt is None else attempt.failure,
        )

    async def load(self, name: str, path: str) -> None:
        """Start loading a bundle. After its warm-up it replaces the model of that name, if there is one.

        Raises:
            ModelError: models are fixed, too many, the name is being loaded, or the bundle is invalid.
            ParameterError: `path` names no folder of the allowed ones.
            OverloadError: the server is ending.
        """
        folder, group = self._changeable()
        self._check_not_loading(name)
        if name not in self.states and len(self.states) >= self._most:
            raise ModelError(
                "models_full", f"This server has {self._most} models, the most allowed; unload one first."
            )
        before, attempt = self._attempts.get(name), _Attempt()
        self._attempts[name] = attempt
        try:
            found = await anyio.to_thread.run_sync(folder.find, path)
            await anyio.to_thread.run_sync(_verify, found, path)
        except BaseException:
            self._forget(name)
            if before is not None:
                self._attempts[name] = before
            raise
        group.start_soon(self._load, name, found, path, attempt)

    def unload(self, name: str) -> None:
        """Retire a model, or forget a failed load.

        Raises:
            ModelError: models are fixed, or it is the default, being loaded or unknown.
            OverloadError: the server is ending.
        """
        self._changeable()
        self.status(name)
        self._check_not_loading(name)
        if name == self._models.default.name:
            raise ModelError(
                "model_is_default", f"{name} is the default model; make another one the default first."
            )
        self._forget(name)
        if name in self._models:
            self._models.remove(name)

    def make_default(self, name: str) -> None:
        """Make a model the default.

        Raises:
            ModelError: models are fixed, or it is not ready.
            OverloadError: the server is ending.
        """
        self._changeable()
        if name not in self._models:
            raise _not_found(name)
        self._models.make_default(name)

    async def _load(self, name: str, folder: Path, path: str, attempt: _Attempt) -> None:
        log = structlog.get_logger().bind(model=name)
        try:
            service = await anyio.to_thread.run_sync(self._build, name, folder, limiter=self._threads)
        except Exception as error:
            log.error("model not loaded", exc_info=error)
            attempt.failure = problem_of(_failure(error, folder, path))
            return
        # No checkpoint between the build and here, so every service that was built is offered.
        self._forget(name)
        self._models.put(name, service)
        log.info("model loaded", bundle=service.pipeline.bundle.digest)

    def _state(self, name: str) -> ModelState:
        if name in self._models:
            return "ready"
        attempt = self._attempts.get(name)
        if attempt is None:
            return "unloading"
        return "loading" if attempt.failure is None else "failed"

    def _users(self) -> list[Model]:
        return [*self._models.retired, *self._models.ready.values()]

    def _changeable(self) -> tuple[BundleFolder, TaskGroup]:
        if self._folder is None:
            raise ModelError(
                "models_fixed",
                "This server was started without bundle_dir, so its models cannot be changed.",
            )
        self._drain.check()
        if self._group is None:
            raise DetectError("not_ready", "The server is not running; ask again in a few seconds.")
        return self._folder, self._group

    def _check_not_loading(self, name: str) -> None:
        attempt = self._attempts.get(name)
        if attempt is not None and attempt.failure is None:
            raise ModelError(
                "model_loading", f"A bundle is being loaded as {name}; wait until it is ready or has failed."
            )

    def _forget(self, name: str) -> None:
        self._attempts.pop(name, None)


def _not_found(name: str) -> ModelError:
    return ModelError(
        "model_not_found", f"There is no model {name!r}, or it is not ready; GET /v1/models lists all."
    )


def _verify(folder: Path, path: str) -> None:
    try:
        verify_bundle(folder)
    except (BundleError, OSError) as error:
        raise _failure(error, folder, path) from error


def _failure(error: Exception, folder: Path, path: str) -> DetectError:
    """The error of a load; it names the bundle's path as the client wrote it, not the server's folder."""
    text = " ".join(str(error).replace(str(folder), path).split())
    if isinstance(error, EngineError):
        return EngineFailureError(text)
    if isinstance(error, BundleError):
        return ModelError("invalid_bundle", text)
    if isinstance(error, OSError):
        return ModelError("invalid_bundle", f"The bundle {path} cannot be read: {error.strerror}.")
    return DetectError("internal_error", "The server failed on this bundle; its log says why.")

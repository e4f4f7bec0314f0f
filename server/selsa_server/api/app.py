"""The composition root of `selsa serve`: makes every part of a server and connects them.

`selsa_server.cli.serve` reads the settings, opens the socket, starts the fork server and loads the bundles
(here or on a cluster). `pipelines` and `build_app` make everything else from these.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Final

import anyio
import anyio.to_thread
import structlog
from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from selsa_bundle.errors import EngineError, GateError
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.api.api_keys import ApiKeys, read_api_keys
from selsa_server.api.guard import Guard, HeadAsGet
from selsa_server.api.openapi import with_more_schemas
from selsa_server.api.problems import add_problem_handlers, once_each
from selsa_server.api.request_context import Prefixed, RequestContext
from selsa_server.api.routes.detect import detect_router
from selsa_server.api.routes.docs import docs_router
from selsa_server.api.routes.draw import draw_router
from selsa_server.api.routes.health import health_router
from selsa_server.api.routes.jobs import jobs_router
from selsa_server.api.routes.models import models_router
from selsa_server.api.routes.page import Page, page_router, read_page
from selsa_server.api.routes.stream import Streams, stream_router
from selsa_server.api.spool import sweep
from selsa_server.confined.fork_server import ForkServer, can_fork
from selsa_server.confined.outcome import DecoderOutcome
from selsa_server.confined.rules import decoder_rules
from selsa_server.decoders.local import LocalDecoders
from selsa_server.decoders.protocol import Decoders
from selsa_server.engines.batching import BatchingEngines, BatchingOptions
from selsa_server.engines.bundle_loading import load_bundle
from selsa_server.engines.readiness import Readiness, run_one_frame
from selsa_server.jobs.service import JobsService
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions, pipeline_options
from selsa_server.service.admission import Admission
from selsa_server.service.bundle_folder import BundleFolder
from selsa_server.service.detection import DetectionService
from selsa_server.service.draining import Drain
from selsa_server.service.model_loading import ModelLoading
from selsa_server.service.models import Models
from selsa_server.settings import (
    AdmissionSettings,
    DecoderSettings,
    EngineSettings,
    ServerSettings,
    SpoolSettings,
    VideoSettings,
)
from selsa_server.telemetry.metrics import Metrics
from selsa_server.telemetry.tracing import Tracing, build_tracing

# Headers that pages of other origins may send and read; the rest is for programs.
ASKED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-API-Key",
    "X-Request-ID",
)
ANSWERED_HEADERS: Final = ("Location", "Retry-After", "Selsa-Complete", "Server-Timing", "X-Request-ID")

LoadBundle = Callable[[Path], LoadedBundle]


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    """Callbacks and signals between an application and its process.

    Attributes:
        drain: the process begins it to end the application.
        on_ready: called once, after the first frame of the engines.
        on_drained: called once, after the drain.
        on_no_jobs: called with the reason if this server takes no jobs.
    """

    drain: Drain
    on_ready: Callable[[], None] = lambda: None
    on_drained: Callable[[], None] = lambda: None
    on_no_jobs: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Services:
    """Makes services that share everything but their engines.

    Attributes:
        settings: how engine calls are merged.
        options: of the pipelines.
        admission: bounds the requests of all models together.
        metrics: counts engine calls and requests.
        load_bundle: loads the bundle in a folder; raises BundleError.
        decoders: decode the videos of all models.
    """

    settings: EngineSettings
    options: PipelineOptions
    admission: Admission
    metrics: Metrics
    load_bundle: LoadBundle
    decoders: Decoders

    def around(self, pipeline: DetectionPipeline) -> DetectionService:
        """The service of a pipeline. It owns the pipeline's engines."""
        options = BatchingOptions(
            max_batch=self.settings.max_batch,
            max_wait=self.settings.max_batch_wait,
            calls_at_once=self.settings.engine_calls,
        )
        engines = BatchingEngines(pipeline.bundle.engines, options, self.metrics.engine_call)
        bundle = replace(pipeline.bundle, engines=engines)
        shared = DetectionPipeline(bundle, pipeline.options, self.decoders)
        return DetectionService(
            pipeline=shared, engines=engines, admission=self.admission, metrics=self.metrics
        )

    def load(self, name: str, folder: Path) -> DetectionService:
        """The service of the bundle in a folder, after its first frame.

        Raises:
            BundleError: it cannot be used, or its engines fail.
        """
        bundle = self.load_bundle(folder)
        try:
            run_one_frame(bundle)
        except BaseException:
            bundle.engines.close()
            raise
        return self.around(DetectionPipeline(bundle, replace(self.options, model=name)))


def pipelines(loaded: Mapping[str, LoadedBundle], settings: VideoSettings) -> dict[str, DetectionPipeline]:
    """The pipelines of loaded bundles by the models' names, in the same order."""
    options = pipeline_options(settings)
    return {name: DetectionPipeline(bundle, replace(options, model=name)) for name, bundle in loaded.items()}


def build_app(
    pipeline: DetectionPipeline,
    settings: ServerSettings,
    lifecycle: Lifecycle | None = None,
    *,
    others: Mapping[str, DetectionPipeline] = MappingProxyType({}),
    load: LoadBundle | None = None,
    fork_server: ForkServer | None = None,
) -> FastAPI:
    """The application that serves `pipeline`, and `others` by name.

    Args:
        pipeline: all requests, jobs and streams share its engines; the application closes them.
        settings: bounds of uploads and of concurrency, and the spool folder.
        lifecycle: how it reports readiness to its process, and how the process ends it.
        others: more models, by name.
        load: loads a bundle while the server runs; None: by the settings, into this process.
        fork_server: starts decoder processes; None: one that ends with the application.

    Raises:
        OSError: the file of API keys cannot be read.
        ValueError: it holds no key.
        ImportError: `otlp_endpoint` is set and the tracing extra is not installed.
    """
    page = read_page()
    lifecycle = lifecycle or Lifecycle(drain=Drain(settings.drain_timeout))
    metrics, readiness, own_fork_server = Metrics(), Readiness(), ForkServer()
    admission = _admission(settings, lifecycle.drain, metrics)
    decoders = _decoders(settings, settings.retry_after, fork_server or own_fork_server, metrics)
    load = load or partial(load_bundle, settings=settings)
    services = Services(settings, pipeline.options, admission, metrics, load, decoders)
    default = pipeline.options.model or pipeline.bundle.manifest.name
    parts = _parts({default: pipeline, **others}, services, settings, lifecycle)
    app = FastAPI(
        title="selsa",
        version=version("selsa"),
        summary="SELSA video object detection: a video goes in, per-frame detections come out.",
        # Swagger UI comes with the package, and generated clients have the routes' own names.
        dependencies=[Depends(once_each)],
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        lifespan=_lifespan(parts, settings, readiness, lifecycle, own_fork_server),
    )
    add_problem_handlers(app)
    _add_middleware(app, settings, page, metrics)
    app.include_router(detect_router(parts.models, lifecycle.drain, settings))
    app.include_router(draw_router(parts.models, lifecycle.drain, settings))
    app.include_router(jobs_router(parts.models, parts.jobs, settings))
    app.include_router(stream_router(parts.streams))
    app.include_router(models_router(parts.loading, settings.upload_timeout))
    app.include_router(health_router(parts.models, readiness, lifecycle.drain, metrics))
    app.include_router(docs_router())
    app.include_router(page_router(page))
    app.openapi = with_more_schemas(app.openapi)  # type: ignore[method-assign]
    return app


def _add_middleware(app: FastAPI, settings: ServerSettings, page: Page, metrics: Metrics) -> None:
    """The innermost first."""
    app.add_middleware(Prefixed, prefix=settings.root_path, forwarded=settings.forwarded_prefix)
    app.add_middleware(HeadAsGet)
    if settings.api_keys_file is not None:
        keys = read_api_keys(settings.api_keys_file)
        app.add_middleware(ApiKeys, keys=keys, open_paths=page.addresses)
    if settings.cors_origins:
        # Outside the keys: a preflight request has none.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
            allow_headers=ASKED_HEADERS,
            expose_headers=ANSWERED_HEADERS,
        )
    app.add_middleware(
        Guard, bound=settings.host, hosts=settings.allowed_hosts, origins=settings.cors_origins
    )
    app.add_middleware(RequestContext, metrics=metrics)
    if settings.otlp_endpoint is not None:
        app.add_middleware(Tracing, provider=build_tracing(settings.otlp_endpoint))


def _admission(settings: AdmissionSettings, drain: Drain, metrics: Metrics) -> Admission:
    admission = Admission(settings, drain)
    metrics.watch(
        queued_seconds=lambda: admission.queued_seconds,
        inside=lambda: admission.inside,
        running=lambda: admission.running,
    )
    return admission


def _decoders(
    settings: DecoderSettings, retry_after: int, fork_server: ForkServer, metrics: Metrics
) -> Decoders:
    """What decodes videos, by the settings and by what this system supports; `metrics` counts it."""
    if settings.confinement == "off" or not can_fork():
        return LocalDecoders()

    def ended(outcome: DecoderOutcome, cpu_seconds: float) -> None:
        metrics.decoder(outcome, cpu_seconds)
        if outcome not in ("ok", "cancelled"):
            structlog.get_logger().warning(
                "decoder ended", outcome=outcome, cpu_seconds=round(cpu_seconds, 3)
            )

    # Imported here: it needs system calls that are missing where a process cannot fork.
    from selsa_server.confined.decoders import ConfinedDecoders

    return ConfinedDecoders(fork_server=fork_server, rules=decoder_rules(settings, retry_after), ended=ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The parts that start and stop with the application."""

    models: Models
    loading: ModelLoading
    jobs: JobsService
    streams: Streams
    admission: Admission


def _parts(
    pipelines: Mapping[str, DetectionPipeline],
    services: Services,
    settings: ServerSettings,
    lifecycle: Lifecycle,
) -> _Parts:
    metrics = services.metrics
    models = Models(
        {name: services.around(each) for name, each in pipelines.items()},
        on_available=lambda model: metrics.describe(model.name, model.bundle, served=True),
        on_retired=lambda model: metrics.describe(model.name, model.bundle, served=False),
    )
    folder = None if settings.bundle_dir is None else BundleFolder(settings.bundle_dir)
    loading = ModelLoading(models, folder, services.load, lifecycle.drain, settings.max_models)
    metrics.watch_models(lambda: Counter(loading.states.values()))
    return _Parts(
        models=models,
        loading=loading,
        jobs=JobsService(models, settings, metrics, lifecycle.on_no_jobs),
        streams=Streams(models, settings, settings.retry_after, metrics),
        admission=services.admission,
    )


def _lifespan(
    parts: _Parts,
    settings: SpoolSettings,
    readiness: Readiness,
    lifecycle: Lifecycle,
    fork_server: ForkServer,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    def stop_long_work() -> None:
        parts.jobs.stop()
        parts.streams.stop()

    def idle() -> bool:
        return parts.admission.inside == 0 and parts.streams.open == 0

    async def drain() -> None:
        await lifecycle.drain.watch(on_start=stop_long_work, idle=idle, done=lifecycle.on_drained)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        try:
            if swept := await anyio.to_thread.run_sync(sweep, settings.spool_dir):
                structlog.get_logger().info("files of a killed server deleted", files=swept)
            async with parts.jobs.running(), parts.loading.running(), anyio.create_task_group() as group:
                group.start_soon(_warm_up, parts.models, readiness, lifecycle.on_ready)
                group.start_soon(drain)
                yield
                group.cancel_scope.cancel()
        finally:
            await anyio.to_thread.run_sync(parts.models.close)
            await anyio.to_thread.run_sync(fork_server.close)

    return lifespan


async def _warm_up(models: Models, readiness: Readiness, on_ready: Callable[[], None]) -> None:
    try:
        for model in list(models.ready.values()):
            await anyio.to_thread.run_sync(run_one_frame, model.bundle)
    except EngineError as error:
        structlog.get_logger().error("the engines failed on their first frame", error=str(error))
        # A GateError names tensors and numbers, and nothing about the machine.
        readiness.reason = (
            str(error)
            if isinstance(error, GateError)
            else "The engines failed on their first frame; the server's log says why."
        )
        return
    readiness.ready = True
    on_ready()

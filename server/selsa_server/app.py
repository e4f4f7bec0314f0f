"""The composition root of the HTTP side: from a pipeline and settings to an application."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from types import MappingProxyType

import anyio
import anyio.to_thread
import structlog
from fastapi import FastAPI

from selsa_bundle.errors import EngineError
from selsa_server.admission import Admission, AdmissionLimits
from selsa_server.api_keys import ApiKeys, read_api_keys
from selsa_server.batching import BatchingEngines, BatchingOptions
from selsa_server.draining import Drain
from selsa_server.jobs_service import JobsService, build_jobs
from selsa_server.metrics import Metrics
from selsa_server.models import Models
from selsa_server.pipeline import DetectionPipeline
from selsa_server.problems import add_problem_handlers
from selsa_server.readiness import Readiness, run_one_frame
from selsa_server.record_run import DetectionService
from selsa_server.request_context import RequestContext
from selsa_server.routes_detect import DetectLimits, detect_router
from selsa_server.routes_health import health_router
from selsa_server.routes_jobs import jobs_router
from selsa_server.routes_stream import Streams, build_streams, stream_router
from selsa_server.settings import ServerSettings
from selsa_server.spool import SpoolLimits

__all__ = ["Lifecycle", "build_app"]


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    """What the process around an application does at its turning points.

    Attributes:
        drain: begun by whoever wants the application to end.
        on_ready: called once when the engines have run their first frame.
        on_drained: called once when a drain that was begun is over.
    """

    drain: Drain
    on_ready: Callable[[], None] = lambda: None
    on_drained: Callable[[], None] = lambda: None


def build_app(
    pipeline: DetectionPipeline,
    settings: ServerSettings,
    lifecycle: Lifecycle | None = None,
    *,
    others: Mapping[str, DetectionPipeline] = MappingProxyType({}),
) -> FastAPI:
    """The application that serves `pipeline`, and `others` by name.

    Args:
        pipeline: what detects; its engines are shared by all requests, jobs and streams.
        settings: bounds of uploads and of concurrency, and the spool folder.
        lifecycle: what is called when, and how it is told to end.
        others: more models, which `POST /detect?model=` can name; jobs and streams have the first one only.

    Raises:
        OSError: the file of API keys cannot be read.
        ValueError: it holds no key.
    """
    lifecycle = lifecycle or Lifecycle(drain=Drain(settings.drain_timeout))
    metrics, readiness = Metrics(), Readiness()
    admission = _admission(settings, lifecycle.drain, metrics)
    default = pipeline.options.model or pipeline.bundle.manifest.name
    models = Models(
        {
            name: _service(each, settings, admission, metrics)
            for name, each in {default: pipeline, **others}.items()
        }
    )
    service = models.default
    jobs = build_jobs(service.pipeline, settings)
    streams = build_streams(service.pipeline, settings)
    app = FastAPI(
        title="selsa",
        version=version("selsa"),
        summary="SELSA video object detection: a video goes in, per-frame detections come out.",
        lifespan=_lifespan(models, jobs, streams, readiness, lifecycle),
    )
    add_problem_handlers(app)
    if settings.api_keys_file is not None:
        app.add_middleware(ApiKeys, keys=read_api_keys(settings.api_keys_file))
    app.add_middleware(RequestContext, metrics=metrics)
    spool = SpoolLimits(max_bytes=settings.max_upload_bytes, timeout=settings.upload_timeout)
    limits = DetectLimits(spool=spool, seconds=settings.request_deadline, send_timeout=settings.send_timeout)
    app.include_router(detect_router(models, lifecycle.drain, settings.spool_dir, limits))
    app.include_router(jobs_router(service.pipeline, jobs, spool))
    app.include_router(stream_router(streams))
    app.include_router(health_router(models, readiness, lifecycle.drain, metrics))
    return app


def _admission(settings: ServerSettings, drain: Drain, metrics: Metrics) -> Admission:
    limits = AdmissionLimits(
        concurrent=settings.max_concurrent,
        queued=settings.max_queued,
        video_seconds=settings.max_queue_seconds,
        retry_after=settings.retry_after,
    )
    admission = Admission(limits, drain)
    metrics.watch(
        queued_seconds=lambda: admission.queued_seconds,
        inside=lambda: admission.inside,
        running=lambda: admission.running,
    )
    return admission


def _service(
    pipeline: DetectionPipeline, settings: ServerSettings, admission: Admission, metrics: Metrics
) -> DetectionService:
    options = BatchingOptions(
        max_batch=settings.max_batch,
        max_wait=settings.max_batch_wait,
        calls_at_once=settings.engine_calls,
    )
    engines = BatchingEngines(pipeline.bundle.engines, options, metrics.engine_call)
    metrics.describe(pipeline.bundle)
    shared = DetectionPipeline(replace(pipeline.bundle, engines=engines), pipeline.options)
    return DetectionService(pipeline=shared, engines=engines, admission=admission, metrics=metrics)


def _lifespan(
    models: Models,
    jobs: JobsService,
    streams: Streams,
    readiness: Readiness,
    lifecycle: Lifecycle,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    def begun() -> None:
        jobs.stop()
        streams.stop()

    def idle() -> bool:
        return models.default.admission.inside == 0 and streams.open == 0

    async def drain() -> None:
        await lifecycle.drain.watch(begun=begun, idle=idle, done=lifecycle.on_drained)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        try:
            async with jobs.running(), anyio.create_task_group() as group:
                group.start_soon(_warm_up, models, readiness, lifecycle.on_ready)
                group.start_soon(drain)
                yield
                group.cancel_scope.cancel()
        finally:
            await anyio.to_thread.run_sync(models.close)

    return lifespan


async def _warm_up(models: Models, readiness: Readiness, on_ready: Callable[[], None]) -> None:
    try:
        for bundle in models.bundles.values():
            await anyio.to_thread.run_sync(run_one_frame, bundle)
    except EngineError as error:
        structlog.get_logger().error("the engines failed on their first frame", error=str(error))
        readiness.reason = "The engines failed on their first frame; the server's log says why."
        return
    readiness.ready = True
    on_ready()

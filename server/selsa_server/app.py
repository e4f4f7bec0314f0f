"""The composition root of the HTTP side: from a pipeline and settings to an application."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
import anyio.to_thread
import structlog
from fastapi import FastAPI

from selsa_bundle.errors import EngineError
from selsa_server.admission import Admission
from selsa_server.pipeline import DetectionPipeline
from selsa_server.problems import add_problem_handlers
from selsa_server.readiness import Readiness, run_one_frame
from selsa_server.request_context import RequestContext
from selsa_server.routes_detect import detect_router
from selsa_server.routes_health import health_router
from selsa_server.settings import ServerSettings
from selsa_server.spool import SpoolLimits

__all__ = ["build_app"]


def build_app(
    pipeline: DetectionPipeline, settings: ServerSettings, *, on_ready: Callable[[], None] | None = None
) -> FastAPI:
    """The application that serves `pipeline`.

    Args:
        pipeline: what detects.
        settings: bounds of uploads and of concurrency, and the spool folder.
        on_ready: called once when the engines have run their first frame.
    """
    readiness = Readiness()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with anyio.create_task_group() as group:
            group.start_soon(_warm_up, pipeline, readiness, on_ready)
            yield
            group.cancel_scope.cancel()

    app = FastAPI(
        title="selsa",
        version=version("selsa"),
        summary="SELSA video object detection: a video goes in, per-frame detections come out.",
        lifespan=lifespan,
    )
    add_problem_handlers(app)
    app.add_middleware(RequestContext)
    admission = Admission(
        concurrent=settings.max_concurrent, queued=settings.max_queued, retry_after=settings.retry_after
    )
    limits = SpoolLimits(max_bytes=settings.max_upload_bytes, timeout=settings.upload_timeout)
    app.include_router(detect_router(pipeline, admission, settings.spool_dir, limits))
    app.include_router(health_router(pipeline.bundle, readiness))
    return app


async def _warm_up(
    pipeline: DetectionPipeline, readiness: Readiness, on_ready: Callable[[], None] | None
) -> None:
    try:
        await anyio.to_thread.run_sync(run_one_frame, pipeline.bundle)
    except EngineError as error:
        structlog.get_logger().error("the engines failed on their first frame", error=str(error))
        readiness.reason = "The engines failed on their first frame; the server's log says why."
        return
    readiness.ready = True
    if on_ready is not None:
        on_ready()

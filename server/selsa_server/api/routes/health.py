"""Whether the server is alive and ready, and the models that it serves."""

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST as PROMETHEUS
from pydantic import BaseModel, Field

from selsa_server.api.problems import problem_responses
from selsa_server.engines.readiness import Readiness
from selsa_server.errors import DetectError
from selsa_server.pipeline.video_record import model_info
from selsa_server.schema.detect import ModelInfo
from selsa_server.service.draining import Drain
from selsa_server.service.models import Model, Models
from selsa_server.telemetry.metrics import Metrics


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ServedModel(ModelInfo):
    """A served bundle and where it runs."""

    served_as: str = Field(description="the value of `model` that selects it")
    architecture: str
    reference_frames: int
    long_side: int
    short_side: int
    max_detections: int
    created: str
    why: str = Field(description="why it runs on this provider and in this precision")


def health_router(models: Models, readiness: Readiness, drain: Drain, metrics: Metrics) -> APIRouter:
    """The routes of health, metrics and models."""
    router = APIRouter(tags=["server"])

    @router.get("/healthz", summary="Whether the server is alive")
    async def get_liveness() -> Alive:
        return Alive()

    @router.get(
        "/readyz",
        summary="Whether the engines run",
        responses=problem_responses("not_ready", "draining", anywhere=()),
    )
    async def get_readiness() -> Alive:
        drain.check()
        if not readiness.ready:
            raise DetectError("not_ready", readiness.reason)
        return Alive()

    @router.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses={
            200: {"description": "Prometheus' text format", "content": {PROMETHEUS: {}}},
            **problem_responses(),
        },
    )
    async def get_metrics() -> Response:
        return Response(metrics.text(), headers={"Content-Type": PROMETHEUS})

    @router.get(
        "/model",
        summary="The default model in detail; /v1/models lists all models",
        responses=problem_responses(),
    )
    async def get_default_model() -> ServedModel:
        return _served(models.default)

    @router.get(
        "/models", summary="The ready models in detail, the default first", responses=problem_responses()
    )
    async def list_ready_models() -> list[ServedModel]:
        return [_served(model) for model in models.ready.values()]

    return router


def _served(model: Model) -> ServedModel:
    bundle = model.bundle
    manifest = bundle.manifest
    return ServedModel(
        **dict(model_info(bundle)),
        served_as=model.name,
        architecture=manifest.provenance.architecture,
        reference_frames=manifest.reference_frames,
        long_side=manifest.preprocess.long_side,
        short_side=manifest.preprocess.short_side,
        max_detections=bundle.engines.dimensions.detections,
        created=manifest.provenance.created,
        why=bundle.why,
    )

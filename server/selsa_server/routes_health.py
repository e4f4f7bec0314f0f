"""Is it alive, is it ready, and what does it serve."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from selsa_bundle.load import LoadedBundle
from selsa_server.errors import DetectError
from selsa_server.problems import problem_responses
from selsa_server.readiness import Readiness
from selsa_server.schema import ModelInfo

__all__ = ["Alive", "ServedModel", "health_router"]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ServedModel(ModelInfo):
    """The bundle that is served and where it runs."""

    architecture: str
    reference_frames: int
    long_side: int
    short_side: int
    max_detections: int
    created: str


def health_router(bundle: LoadedBundle, readiness: Readiness) -> APIRouter:
    """The routes that say how the server is."""
    router = APIRouter(tags=["server"])

    @router.get("/healthz", summary="Whether the server is alive")
    async def healthz() -> Alive:
        return Alive()

    @router.get("/readyz", summary="Whether the engines run", responses=problem_responses("not_ready"))
    async def readyz() -> Alive:
        if not readiness.ready:
            raise DetectError("not_ready", readiness.reason)
        return Alive()

    @router.get("/model", summary="Which model is served")
    async def model() -> ServedModel:
        manifest, info = bundle.manifest, bundle.engines.info
        return ServedModel(
            name=manifest.name,
            bundle=bundle.digest,
            provider=info.provider,
            precision=info.precision,
            classes=manifest.classes,
            architecture=manifest.provenance.architecture,
            reference_frames=manifest.reference_frames,
            long_side=manifest.preprocess.long_side,
            short_side=manifest.preprocess.short_side,
            max_detections=bundle.engines.dimensions.detections,
            created=manifest.provenance.created,
        )

    return router

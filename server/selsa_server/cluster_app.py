"""Engines as an application of Ray Serve that its own configuration deploys, as KubeRay's RayService does.

    import_path: selsa_server.cluster_app:engines

Servers find it by its name: `selsa serve --cluster --address HOST:PORT --application NAME`.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from selsa_server.cluster import replica_engines, replica_options
from selsa_server.cluster_deployment import application
from selsa_server.settings import PrecisionName, ProviderName, ServerSettings

__all__ = ["EnginesArgs", "engines"]


class EnginesArgs(BaseModel):
    """The application's `args`; those named as settings of the server mean the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: str | None = Field(default=None, description="its folder on every node; None: the packaged one")
    provider: ProviderName = "auto"
    precision: PrecisionName = "auto"
    allow_cpu: bool = False
    threads: int = 0
    engine_calls: int = 1
    max_batch: int = 8
    max_batch_wait: float = 0.005
    replicas: int = 1
    max_replicas: int | None = None
    replica_cpus: float = 1
    replica_gpus: float = 0


def engines(args: EnginesArgs) -> Any:
    """The application."""
    settings = ServerSettings(cluster=True, **args.model_dump(exclude={"bundle"}))
    return application(replica_engines(args.bundle, None, settings), replica_options(settings))

"""Engines as an application of Ray Serve that its own configuration deploys, as KubeRay's RayService does.

    import_path: selsa_server.cluster.app:engines

Servers find it by its name: `selsa serve --cluster --address HOST:PORT --application NAME`.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from selsa_bundle.precision_report import PrecisionName, ProviderName
from selsa_server.cluster.deployment import ReplicaOptions, application
from selsa_server.cluster.replica import ReplicaEngines
from selsa_server.engines.batching import BatchingOptions


class EnginesArgs(BaseModel):
    """The application's `args`; those named as settings of the server mean the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: str | None = Field(default=None, description="its folder on every node; None: the packaged one")
    provider: ProviderName = "auto"
    precision: PrecisionName = "auto"
    allow_cpu: bool = False
    engine_cache: str | None = None
    threads: int = Field(default=0, ge=0, le=1024)
    engine_calls: int = Field(default=1, ge=1, le=16)
    max_batch: int = Field(default=8, ge=1, le=256)
    max_batch_wait: float = Field(default=0.005, ge=0, le=1)
    replicas: int = Field(default=1, ge=1, le=4096)
    max_replicas: int | None = Field(default=None, ge=1, le=4096)
    replica_cpus: float = Field(default=1, ge=0, le=1024)
    replica_gpus: float = Field(default=0, ge=0, le=16)


def engines(args: EnginesArgs) -> Any:
    """The application."""
    load = ReplicaEngines(
        folder=args.bundle,
        digest=None,
        provider=args.provider,
        precision=args.precision,
        threads=args.threads or round(args.replica_cpus),
        max_batch=args.max_batch,
        allow_cpu=args.allow_cpu,
        engine_cache=args.engine_cache,
    )
    options = ReplicaOptions(
        replicas=args.replicas,
        max_replicas=args.max_replicas or args.replicas,
        cpus=args.replica_cpus,
        gpus=args.replica_gpus,
        batching=BatchingOptions(
            max_batch=args.max_batch, max_wait=args.max_batch_wait, calls_at_once=args.engine_calls
        ),
    )
    return application(load, options)

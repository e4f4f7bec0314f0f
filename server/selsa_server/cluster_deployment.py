"""The Ray Serve application of a bundle's engines: the same one for all servers that ask for the same."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from selsa_server.batching import BatchingOptions
from selsa_server.cluster_connection import ClusterError
from selsa_server.cluster_replica import CALLS_IN_HAND, EngineReplica, LoadEngines

__all__ = ["ReplicaOptions", "application", "deploy", "find", "remove"]

# Calls in hand that a replica should have: one that runs, and one to go on with.
CALLS_AIMED_AT: Final = 2
HEALTH_SECONDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOptions:
    """Replicas of a bundle's engines.

    Attributes:
        replicas: at least.
        max_replicas: at most; more than `replicas` is by load.
        cpus: cores of each.
        gpus: GPUs of each, or a share of one.
        batching: how calls are merged.
    """

    replicas: int
    max_replicas: int
    cpus: float
    gpus: float
    batching: BatchingOptions


def application(load: LoadEngines, options: ReplicaOptions) -> Any:
    """The application, for `serve.run` or a configuration file of Ray Serve."""
    from ray import serve

    scaling: dict[str, Any] = {"num_replicas": options.replicas}
    if options.max_replicas > options.replicas:
        scaling = {
            "autoscaling_config": {
                "min_replicas": options.replicas,
                "max_replicas": options.max_replicas,
                "target_ongoing_requests": CALLS_AIMED_AT,
            }
        }
    deployment: Any = serve.deployment(
        EngineReplica,
        name="engines",
        max_ongoing_requests=CALLS_IN_HAND,
        health_check_period_s=HEALTH_SECONDS,
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
        **scaling,
    )
    return deployment.bind(load, options.batching)


def deploy(digest: str, load: LoadEngines, options: ReplicaOptions) -> str:
    """The application's name; its replicas run, started by this server or another one.

    Raises:
        ClusterError: the replicas do not start; the message says why.
    """
    from ray import serve

    # Who asks for other options gets replicas of its own, and changes nobody's.
    asked = hashlib.sha256(repr((digest, load, options)).encode()).hexdigest()
    name = f"selsa-{digest.removeprefix('sha256:')[:12]}-{asked[:8]}"
    # Servers speak HTTP themselves: no proxy is needed.
    serve.start(proxy_location="Disabled")
    found = serve.status().applications.get(name)
    if found is not None and found.status == "RUNNING":
        return name
    try:
        serve.run(application(load, options), name=name, route_prefix=None)
    except Exception as error:  # Serve has one kind for all of them
        message = serve.status().applications.get(name)
        text = str(error) if message is None else message.message
        serve.delete(name, _blocking=False)
        raise ClusterError(f"the engines do not start on the cluster: {_last_line(text)}") from error
    return name


def find(name: str) -> str:
    """The name of an application that somebody else deployed.

    Raises:
        ClusterError: there is none of that name, or it does not run.
    """
    from ray import serve

    found = serve.status().applications
    if name not in found:
        there = ", ".join(found) or "none"
        raise ClusterError(f"the cluster has no application {name}; it has {there}")
    if found[name].status != "RUNNING":
        raise ClusterError(
            f"the application {name} is {found[name].status}: {_last_line(found[name].message)}"
        )
    return name


def remove(name: str) -> None:
    """End an application's replicas."""
    from ray import serve

    serve.delete(name)


def _last_line(text: str) -> str:
    """Of a traceback that travelled, what was raised."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line.partition(":")[0]]
    return (telling or lines or ["Ray says nothing"])[-1][:400]

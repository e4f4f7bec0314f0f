"""The Ray Serve application of a bundle's engines; servers with equal options share it."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from selsa_server.cluster.connection import ClusterError
from selsa_server.cluster.replica import CALLS_IN_HAND, EngineReplica, LoadEngines
from selsa_server.engines.batching import BatchingOptions

# Calls per replica that autoscaling aims at: one running, one waiting.
CALLS_AIMED_AT: Final = 2
HEALTH_SECONDS: Final = 5
LOOK_SECONDS: Final = 0.2
SAY_SECONDS: Final = 30.0


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
        # Else each call of a frame engine writes a line.
        logging_config={"enable_access_log": False},
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
        **scaling,
    )
    return deployment.bind(load, options.batching)


def deploy(
    digest: str,
    load: LoadEngines,
    options: ReplicaOptions,
    *,
    seconds: float,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """The application's name; its replicas run, started by this server or another one.

    Args:
        load: gives a replica its engines.
        seconds: in which they have to run.
        say: gets messages about what the replicas wait for, from time to time.

    Raises:
        ClusterError: the replicas do not start, or not in time; the message says why.
    """
    from ray import serve

    # Servers with other options get their own replicas.
    asked = hashlib.sha256(repr((digest, load, options)).encode()).hexdigest()
    name = f"selsa-{digest.removeprefix('sha256:')[:12]}-{asked[:8]}"
    # Servers speak HTTP themselves: no proxy is needed.
    serve.start(proxy_location="Disabled")
    found = serve.status().applications.get(name)
    if found is not None and found.status == "RUNNING":
        return name
    # `serve.run` would wait without end and without a message if no node has room.
    target = serve.RunTarget(application(load, options), name=name, route_prefix=None)
    try:
        serve.run_many(
            [target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
        )
        _wait_until_running(name, seconds, say)
    except ClusterError:
        serve.delete(name, _blocking=False)
        raise
    except Exception as error:  # Serve raises one type for all failures
        raise ClusterError(f"the engines do not start on the cluster: {telling_line(str(error))}") from error
    return name


def _wait_until_running(name: str, seconds: float, say: Callable[[str], None]) -> None:
    from ray import serve

    started = said = time.monotonic()
    while True:
        found = serve.status().applications.get(name)
        if found is None or found.status == "DEPLOY_FAILED":
            reason = "they were deleted" if found is None else telling_line(found.message)
            raise ClusterError(f"the engines do not start on the cluster: {reason}")
        if found.status == "RUNNING":
            return
        now = time.monotonic()
        if now > started + seconds:
            raise ClusterError(
                f"the engines did not start on the cluster within {seconds:g} s: {_waiting_for(found)}"
            )
        if now > said + SAY_SECONDS:
            said = now
            say(f"the engines do not run yet, after {now - started:.0f} s: {_waiting_for(found)}")
        time.sleep(LOOK_SECONDS)


def _waiting_for(application: Any) -> str:
    """Serve's message about the starting replicas; in the first half minute, their states."""
    engines = list(application.deployments.values())
    said = " ".join(" ".join(each.message for each in engines).split())
    states = ", ".join(f"{count} {state}" for each in engines for state, count in each.replica_states.items())
    return (said or f"replicas: {states or 'none'}")[:400]


def find(name: str) -> str:
    """The name of an application that was deployed before.

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
            f"the application {name} is {found[name].status}: {telling_line(found[name].message)}"
        )
    return name


def remove(name: str) -> None:
    """End an application's replicas."""
    from ray import serve

    serve.delete(name)


def telling_line(text: str) -> str:
    """The line of a remote traceback that names the exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line.partition(":")[0]]
    return (telling or lines or ["Ray says nothing"])[-1][:400]

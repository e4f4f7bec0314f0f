"""A Ray cluster of several nodes on this machine, whose processes find the tests' modules."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

__all__ = ["OBJECT_STORE", "environment", "local_cluster"]

OBJECT_STORE = 200 << 20
TESTS = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """What Ray's processes, and servers on them, are to find in their environment."""
    return {
        "PYTHONPATH": os.pathsep.join(str(TESTS / name) for name in ("server", "cluster")),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
        "RAY_DEDUP_LOGS": "0",
    }


@contextmanager
def local_cluster(cpus: Sequence[float]) -> "Iterator[Cluster]":
    """A cluster with a node for each number of CPUs that it claims to have; the first one is the head."""
    os.environ.update(environment())
    from ray.cluster_utils import Cluster

    head, *others = cpus
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": head,
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
        },
    )
    try:
        for number in others:
            cluster.add_node(num_cpus=number, object_store_memory=OBJECT_STORE)
        yield cluster
    finally:
        cluster.shutdown()

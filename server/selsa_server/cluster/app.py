"""Engines as an application of Ray Serve, deployed by its own configuration, as KubeRay's RayService does.

    import_path: selsa_server.cluster.app:engines

Servers use it by its name: `selsa serve --cluster --address HOST:PORT --application NAME`.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from selsa_server.cluster.cluster import replica_engines, replica_options
from selsa_server.cluster.deployment import application
from selsa_server.settings import ReplicaSettings


class EnginesArgs(ReplicaSettings):
    """The application's `args`: settings of the server by the same names, and a bundle."""

    bundle: str | None = Field(default=None, description="its folder on every node; None: the packaged one")


def engines(args: EnginesArgs) -> Any:
    """The application."""
    folder = None if args.bundle is None else Path(args.bundle)
    return application(replica_engines(folder, None, args), replica_options(args))

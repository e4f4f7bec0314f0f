"""The bundle as a worker of `selsa batch` has it: loaded where the worker is, frame engine on the cluster."""

from dataclasses import dataclass

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.cluster.cluster import with_replicas
from selsa_server.cluster.replica import LoadEngines
from selsa_server.settings import SequencePlace


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBundle:
    """Gives a worker its bundle.

    Attributes:
        load: loads it on the worker's node.
        application: whose replicas are its frame engines.
        place: where the sequence engine runs.
    """

    load: LoadEngines
    application: str
    place: SequencePlace

    def __call__(self) -> LoadedBundle:
        """The bundle. Raises `BundleError` or `ClusterError`."""
        return with_replicas(self.load(), self.application, place=self.place, calls=1)

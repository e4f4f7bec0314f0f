"""Serving on a cluster: the same server, with the engines of its bundles on Ray."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from selsa_bundle.default_bundle import default_bundle, portable_name
from selsa_bundle.errors import EngineError
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.cluster.connection import ClusterConnection, ClusterError, answers, connected
from selsa_server.cluster.replica import LoadEngines, ReplicaEngines
from selsa_server.engines.batching import BatchingOptions
from selsa_server.engines.bundle_loading import load_bundle
from selsa_server.pipeline.calls import CALLS
from selsa_server.settings import (
    ClusterSettings,
    EngineSettings,
    ReplicaSettings,
    SequencePlace,
    ServerSettings,
)

if TYPE_CHECKING:
    from selsa_server.cluster.deployment import ReplicaOptions

DESCRIBE_SECONDS: Final = 120
LOOK_SECONDS: Final = 1.0
# Longer than the pauses of a busy head or network, much shorter than Ray's own timeout.
PATIENCE_SECONDS: Final = 10.0
# Of the frames of one call.
CALL_BYTES: Final = 4 << 20
# Between the start of the drain and the first failing call: jobs stop in order, and continue elsewhere.
NOTICE_SECONDS: Final = 1.0


class HeadWatch:
    """Checks once a second, in a thread, whether the head answers.

    Args:
        head: its host and port.
        gone: called once, in that thread, when it has not answered for too long.
    """

    def __init__(self, head: tuple[str, int], gone: Callable[[], None]) -> None:
        self._head = head
        self._gone = gone
        self._over: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="selsa-head-watch", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether the head has not answered for too long."""
        return self._over is not None

    def start(self) -> None:
        """Start checking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop checking."""
        self._stop.set()

    def ended(self) -> str | None:
        """Why the cluster can no longer answer calls; None while it can."""
        if self._over is None or time.monotonic() < self._over:
            return None
        return f"The cluster's head {self._head[0]}:{self._head[1]} does not answer any more."

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(LOOK_SECONDS):
            if answers(self._head, 2 * LOOK_SECONDS):
                last = time.monotonic()
            elif time.monotonic() - last > PATIENCE_SECONDS:
                self._over = time.monotonic() + NOTICE_SECONDS
                self._gone()
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster that this process serves on.

    Attributes:
        say: gets messages about what it waits for.
    """

    settings: ClusterSettings
    connection: ClusterConnection
    watch: HeadWatch
    say: Callable[[str], None]

    def load(self, folder: Path) -> LoadedBundle:
        """The bundle in a folder, its frame engine on the cluster.

        Raises:
            BundleError: it cannot be used here or on the cluster.
        """
        local = load_bundle(folder, _ingress_settings(self.settings))
        try:
            return self.around(local, replica_engines(folder, local.digest, self.settings))
        except ClusterError as error:
            local.engines.close()
            raise EngineError(str(error)) from error

    def around(self, local: LoadedBundle, load: LoadEngines) -> LoadedBundle:
        """A bundle loaded in this process, with frame engines on replicas, to which `load` gives them.

        Raises:
            ClusterError: they do not start, or run another bundle.
        """
        name = self.deploy(local.digest, load)
        from selsa_server.cluster.deployment import remove

        return with_replicas(
            local,
            name,
            place=self.settings.sequence_engine,
            calls=self.settings.engine_calls,
            ended=self.watch.ended,
            # Replicas on an existing cluster may serve other servers too.
            on_close=(lambda: remove(name)) if self.connection.own else (lambda: None),
        )

    def deploy(self, digest: str, load: LoadEngines) -> str:
        """Deploy these engines and wait until they run; returns the name of their application.

        Raises:
            ClusterError: they do not start, or the application that the settings name is not there.
        """
        from selsa_server.cluster.deployment import deploy, find

        if self.settings.application is not None:
            return find(self.settings.application)

        return deploy(
            digest,
            load,
            replica_options(self.settings),
            seconds=self.settings.replica_start_timeout,
            say=self.say,
        )


def with_replicas(
    local: LoadedBundle,
    application: str,
    *,
    place: SequencePlace,
    calls: int,
    ended: Callable[[], str | None] = lambda: None,
    on_close: Callable[[], None] = lambda: None,
) -> LoadedBundle:
    """A bundle loaded in this process, with the frame engines of an application on the cluster.

    Args:
        place: where the sequence engine runs.
        calls: concurrent calls of the sequence engine, if it runs in this process.
        ended: says why the cluster can no longer answer; None while it can.
        on_close: called once, when the engines are closed.

    Raises:
        ClusterError: the replicas run another bundle.
    """
    from ray import serve

    from selsa_server.cluster.engines import ClusterEngines

    handle = serve.get_app_handle(application)
    replica = handle.describe.remote().result(timeout_s=DESCRIBE_SECONDS)
    if replica.digest != local.digest:
        raise ClusterError(f"the cluster runs {replica.digest}, the bundle here is {local.digest}")
    here = place == "ingress"
    engines = ClusterEngines(
        handle=handle,
        replica=replica,
        local=local.engines if here else None,
        local_calls=threading.BoundedSemaphore(calls),
        ended=ended,
        on_close=on_close,
    )
    if not here:
        local.engines.close()
    return replace(local, engines=engines, why=f"{replica.why} (replicas on Ray)".strip())


@contextmanager
def on_cluster(settings: ClusterSettings, say: Callable[[str], None] = lambda _: None) -> Iterator[Cluster]:
    """A connection to the cluster of the settings for the block; `say` gets messages about waiting.

    If the head dies, this process gets SIGTERM and drains: streams end with an `error` record, jobs continue
    elsewhere or later.

    Raises:
        ClusterError: there is none, or it cannot be used.
    """
    with connected(settings.address, settings.object_store) as connection:
        watch = HeadWatch(connection.head, lambda: os.kill(os.getpid(), signal.SIGTERM))
        watch.start()
        try:
            yield Cluster(settings=settings, connection=connection, watch=watch, say=say)
        finally:
            watch.stop()


def replica_engines(folder: Path | None, digest: str | None, settings: ReplicaSettings) -> ReplicaEngines:
    """How replicas get the engines of the bundle in a folder; None is the packaged default.

    A packaged bundle is named, because each node may have it in another folder.
    """
    return ReplicaEngines(
        folder=portable_name(default_bundle() if folder is None else Path(folder)),
        digest=digest,
        provider=settings.provider,
        precision=settings.precision,
        calls=settings.engine_calls,
        # The replica's cores, shared out among its calls.
        threads=settings.threads or max(1, round(settings.replica_cpus) // settings.engine_calls),
        max_batch=settings.max_batch,
        allow_cpu=settings.allow_cpu,
        engine_cache=None if settings.engine_cache is None else str(settings.engine_cache),
        size=settings.size,
    )


def serving_settings(settings: ServerSettings, frame_bytes: int) -> ServerSettings:
    """The settings of the application in front of the replicas, which merge calls: no call waits here.

    Args:
        frame_bytes: of the largest prepared frame.
    """
    calls = CALLS * (settings.max_concurrent + settings.jobs_concurrent) + settings.max_streams
    batch = video_batch(settings, frame_bytes)
    return settings.model_copy(update={"batch": batch, "engine_calls": calls, "max_batch": 1})


def video_batch(settings: ServerSettings, frame_bytes: int) -> int:
    """Frames of one video that the engines have at most: those of the settings; by default more small ones.

    Sending a small call and its answer costs much the same processor time whatever it carries, and no less
    than the engine of a small model takes for a frame.

    Args:
        settings: of the server; a batch that was set is kept.
        frame_bytes: of the largest prepared frame.
    """
    if "batch" in settings.model_fields_set:
        return settings.batch
    return max(settings.batch, CALLS * min(settings.max_batch, CALL_BYTES // frame_bytes))


def _ingress_settings(settings: EngineSettings) -> EngineSettings:
    """Settings of the sequence engine in this process; provider and precision are for the replicas."""
    return settings.model_copy(update={"provider": "auto", "allow_cpu": True})


def replica_options(settings: ReplicaSettings) -> "ReplicaOptions":
    """How many replicas, of what size."""
    from selsa_server.cluster.deployment import ReplicaOptions

    return ReplicaOptions(
        replicas=settings.replicas,
        max_replicas=settings.max_replicas or settings.replicas,
        cpus=settings.replica_cpus,
        gpus=settings.replica_gpus,
        batching=BatchingOptions(
            max_batch=settings.max_batch,
            max_wait=settings.max_batch_wait,
            calls_at_once=settings.engine_calls,
        ),
    )

"""The composition root of `selsa batch`: from the command's options to a run on a cluster and its report."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from selsa_bundle.manifest import Manifest
from selsa_bundle.runtimes.load import LoadedBundle, verify_bundle
from selsa_server.batch.inputs import BatchVideo
from selsa_server.batch.output import BatchOutput, ResultFormat, open_output
from selsa_server.batch.run import BatchPlan, run_batch
from selsa_server.batch.worker import Outcome
from selsa_server.cluster.cluster import Cluster, on_cluster, replica_engines, video_batch, with_replicas
from selsa_server.cluster.replica import LoadEngines
from selsa_server.engines.bundle_choice import choose_bundles
from selsa_server.errors import ParameterError
from selsa_server.pipeline.sequence_run import pipeline_options
from selsa_server.schema.detect import DetectParams
from selsa_server.settings import SequencePlace, ServerSettings

OUR_FAULT: Final = frozenset({"engine_failed", "engine_memory", "internal_error"})
SHOWN_FAILURES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOrder:
    """The options of one run.

    Attributes:
        params: the same for all of them.
        settings: bundle, cluster and engines.
        address: of the folder of results.
        workers: videos at once.
        worker_cpus: cores of each.
    """

    videos: Sequence[BatchVideo]
    params: DetectParams
    settings: ServerSettings
    address: str
    format: ResultFormat
    workers: int
    worker_cpus: float


@dataclass(slots=True, kw_only=True)
class BatchSummary:
    """Counts and failures so far."""

    total: int
    states: Counter[str] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)
    frames: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def by_engines(self) -> bool:
        """Whether a failure was caused by an engine or an internal error, not by its video."""
        return any(each.code in OUR_FAULT for each in self.failures)

    def add(self, outcome: Outcome) -> str:
        """Count an outcome; returns a line for the user."""
        self.states[outcome.state] += 1
        self.frames += outcome.frames
        if outcome.state == "failed":
            self.failures.append(outcome)
        rate = self.frames / max(1e-9, time.monotonic() - self.started)
        return f"{self.states.total()}/{self.total} {outcome.state} {outcome.name} ({rate:.1f} frames/s)"

    def report(self) -> dict[str, object]:
        """For report.json."""
        return {
            "videos": self.total,
            "done": self.states["done"],
            "there_before": self.states["there"],
            "failed": self.states["failed"],
            "frames": self.frames,
            "seconds": round(time.monotonic() - self.started, 1),
            "failures": [
                {"video": each.address, "result": each.name, "code": each.code, "detail": each.detail}
                for each in sorted(self.failures, key=lambda each: each.name)
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBundle:
    """Loads the bundle of a worker.

    Attributes:
        load: loads the bundle on the worker's node.
        application: name of the application whose replicas are its frame engines.
        place: where the sequence engine runs.
    """

    load: LoadEngines
    application: str
    place: SequencePlace

    def __call__(self) -> LoadedBundle:
        """The bundle. Raises `BundleError` or `ClusterError`."""
        return with_replicas(self.load(), self.application, place=self.place, calls=1)


def carry_out(order: BatchOrder, say: Callable[[str], None], progress: Callable[[str], None]) -> BatchSummary:
    """Detect on every video that has no result yet.

    Raises:
        ParameterError: the bundle has no such class.
        OutputError: the folder has results of something else, or cannot be written.
        BundleError: the bundle cannot be used.
        ClusterError: there is no cluster, or the engines do not start on it.
    """
    folder, digest = _bundle(order, say)
    output = open_output(
        order.address,
        order.format,
        {"bundle": digest, "params": order.params.model_dump(mode="json"), "format": order.format},
    )
    with on_cluster(order.settings, say) as cluster:
        plan = _plan(order, cluster, folder, digest, output)
        return summarize(order.videos, plan, say, progress)


def summarize(
    videos: Sequence[BatchVideo],
    plan: BatchPlan,
    say: Callable[[str], None],
    progress: Callable[[str], None],
) -> BatchSummary:
    """Run a plan to its end and write its report."""
    summary = BatchSummary(total=len(videos))
    for outcome in run_batch(videos, plan):
        line = summary.add(outcome)
        if outcome.state != "there":
            progress(line)
    plan.output.write_report(summary.report())
    states = summary.states
    say(f"{len(videos)} videos: {states['done']} done, {states['there']} before, {states['failed']} failed")
    for each in summary.failures[:SHOWN_FAILURES]:
        say(f"failed: {each.address}: {each.code}: {each.detail}")
    return summary


def _bundle(order: BatchOrder, say: Callable[[str], None]) -> tuple[Path, str]:
    folder = choose_bundles(order.settings.bundle, say)[0].path
    manifest, digest = verify_bundle(folder)
    _check(order.params, manifest)
    return folder, digest


def _check(params: DetectParams, manifest: Manifest) -> None:
    for name in params.classes:
        if name not in manifest.classes:
            allowed = ", ".join(manifest.classes)
            raise ParameterError("classes", f"The model has no class {name!r}; it has {allowed}.", allowed)


def _plan(order: BatchOrder, cluster: Cluster, folder: Path, digest: str, output: BatchOutput) -> BatchPlan:
    settings = order.settings
    # A worker's own engine runs one call at a time, on what its node has and with the threads of its cores.
    here = settings.model_copy(
        update={
            "provider": "auto",
            "allow_cpu": True,
            "engine_calls": 1,
            "replica_cpus": max(1.0, order.worker_cpus),
        }
    )
    batch = video_batch(settings, Manifest.read(folder).preprocess.largest_bytes)
    bundle = WorkerBundle(
        load=replica_engines(folder, digest, here),
        application=cluster.deploy(digest, replica_engines(folder, digest, settings)),
        place=settings.sequence_engine,
    )
    return BatchPlan(
        open_bundle=bundle,
        options=pipeline_options(settings.model_copy(update={"batch": batch})),
        params=order.params,
        output=output,
        workers=order.workers,
        worker_cpus=order.worker_cpus,
        start_seconds=settings.replica_start_timeout,
    )

"""A run of `selsa batch`: the videos as a dataset of Ray Data, streamed through workers.

    videos -> workers (decoding, CPU) -> frame engines (replicas, CPU or GPU) -> sequence engine -> results

The dataset holds addresses and outcomes, not frames, so memory depends only on the videos in progress.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.batch.inputs import BatchVideo
from selsa_server.batch.output import BatchOutput
from selsa_server.batch.worker import Outcome, VideoWorker
from selsa_server.cluster.connection import ClusterError
from selsa_server.cluster.deployment import telling_line
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.schema.detect import DetectParams

# Times that Ray repeats the work of a dead worker; attempts without a restarted worker count too.
MAX_RETRIES: Final = 4
# Times that videos which Ray gave up are started again.
PASSES: Final = 3
# Ray tracks each block; more videos than this share blocks.
MAX_BLOCKS: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How the videos are processed.

    Attributes:
        open_bundle: opens the bundle on the worker's node.
        options: of the workers' pipelines.
        worker_cpus: cores that each of them takes.
        start_seconds: in which the first worker has to start.
    """

    open_bundle: Callable[[], LoadedBundle]
    options: PipelineOptions
    params: DetectParams
    output: BatchOutput
    workers: int
    worker_cpus: float
    start_seconds: float


def run_batch(videos: Sequence[BatchVideo], plan: BatchPlan) -> Iterator[Outcome]:
    """The outcome of each video, once, in order of completion.

    Videos with a result are skipped. A video that Ray gives up counts as failed.

    Raises:
        ClusterError: no node has room for a worker, or no worker starts.
    """
    done = plan.output.done()
    left = {video.name: video for video in videos}
    for video in videos:
        if plan.output.path(video.name) in done:
            del left[video.name]
            yield Outcome(name=video.name, address=video.address, state="there")
    for _ in range(PASSES):
        if not left:
            return
        for outcome in _streamed(list(left.values()), plan):
            if left.pop(outcome.name, None) is not None:
                yield outcome
    for video in left.values():
        yield Outcome(
            name=video.name,
            address=video.address,
            state="failed",
            code="internal_error",
            detail=f"Its worker ended again and again, {PASSES} times {MAX_RETRIES + 1} at most.",
        )


def _streamed(videos: Sequence[BatchVideo], plan: BatchPlan) -> Iterator[Outcome]:
    import ray.data
    from ray.exceptions import GetTimeoutError, RayActorError

    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.wait_for_min_actors_s = max(1, round(plan.start_seconds))
    rows = [{"address": video.address, "name": video.name} for video in videos]
    workers = min(plan.workers, len(rows))
    outcomes = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_BLOCKS)).map_batches(
        VideoWorker,
        fn_constructor_args=(plan.open_bundle, plan.options, plan.params.model_dump_json(), plan.output),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, max_tasks_in_flight_per_actor=2),
        num_cpus=plan.worker_cpus,
        max_restarts=-1,
        max_task_retries=MAX_RETRIES,
    )
    try:
        for row in outcomes.iter_rows():
            yield Outcome(**row)
    except GetTimeoutError as error:
        raise ClusterError(
            f"no node of the cluster had room for a worker of {plan.worker_cpus:g} cores "
            f"within {plan.start_seconds:g} s"
        ) from error
    except RayActorError as error:
        raise ClusterError(f"the workers do not start on the cluster: {telling_line(str(error))}") from error

"""`selsa batch` on fake engines: `python fake_batch.py ADDRESS VIDEOS OUTPUT REPLICAS SECONDS_PER_FRAME`."""

import sys

from cluster_fakes import FakeLoad
from fake_engines import FakeEngines
from fakes import LIMITS, fake_bundle

from selsa_server.batch.inputs import find_videos
from selsa_server.batch.order import WorkerBundle, summarize
from selsa_server.batch.output import open_output
from selsa_server.batch.run import BatchPlan
from selsa_server.cluster.cluster import on_cluster
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.schema.detect import DetectParams
from selsa_server.settings import ServerSettings


def main(address: str, videos: str, output: str, replicas: int, seconds: float) -> None:
    settings = ServerSettings(
        cluster=True, address=address, object_store=100 << 20, replicas=replicas, replica_cpus=0.5
    )
    with on_cluster(settings) as cluster:
        digest = fake_bundle(FakeEngines()).digest
        plan = BatchPlan(
            open_bundle=WorkerBundle(
                load=FakeLoad(),
                application=cluster.deploy(digest, FakeLoad(seconds_per_frame=seconds)),
                place="ingress",
            ),
            options=PipelineOptions(limits=LIMITS, batch=4),
            params=DetectParams(),
            output=open_output(output, "ndjson", {"bundle": digest}),
            workers=2 * replicas,
            worker_cpus=0.25,
            start_seconds=settings.replica_start_timeout,
        )
        summary = summarize(find_videos([videos]), plan, say, say)
    raise SystemExit(4 if summary.failures else 0)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))

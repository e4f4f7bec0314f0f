"""A server with fake engines on a cluster: `python cluster_server.py SPOOL ADDRESS SECONDS_PER_FRAME`."""

import os
import sys
from pathlib import Path

from cluster_fakes import FakeLoad
from fake_engines import FakeEngines
from fakes import LIMITS, fake_bundle

from selsa_server.api.listener import listen
from selsa_server.api.serving import serve_until_drained
from selsa_server.cluster.cluster import on_cluster, serving_settings
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.settings import ServerSettings
from selsa_server.telemetry.log import configure_log


def main(spool: Path, address: str, seconds: float) -> None:
    configure_log("error")
    listener = listen("127.0.0.1", 0)
    serving = f"Serving at http://127.0.0.1:{listener.getsockname()[1]}"
    settings = ServerSettings(
        spool_dir=spool,
        cluster=True,
        address=address,
        object_store=100 << 20,
        replicas=int(os.environ.get("REPLICAS", "1")),
        replica_cpus=0.5,
        max_concurrent=int(os.environ.get("CONCURRENT", "8")),
        max_queued=200,
        max_queue_seconds=1e6,
    )
    with on_cluster(settings) as cluster:
        bundle = cluster.around(fake_bundle(FakeEngines()), FakeLoad(seconds_per_frame=seconds))
        pipeline = DetectionPipeline(bundle, PipelineOptions(limits=LIMITS, batch=4))
        serve_until_drained(
            pipeline,
            serving_settings(settings, bundle.manifest.preprocess.largest_bytes),
            listener,
            on_ready=lambda: print(serving, flush=True),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))

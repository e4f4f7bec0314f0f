"""The pipeline with frame engines on a Ray cluster of two nodes: equal results, also after replicas die."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import typer
from cluster_fakes import FakeLoad
from fake_engines import FakeEngines
from fakes import fake_bundle, fake_pipeline
from local_cluster import local_cluster
from media import write_video
from typer.testing import CliRunner

from selsa_bundle.errors import EngineError
from selsa_server.batch.inputs import find_videos
from selsa_server.batch.order import WorkerBundle, summarize
from selsa_server.batch.output import open_output
from selsa_server.batch.run import BatchPlan, run_batch
from selsa_server.cli.serve import serve
from selsa_server.cluster.cluster import Cluster, on_cluster
from selsa_server.cluster.connection import ClusterError
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams
from selsa_server.settings import ServerSettings

ray = pytest.importorskip("ray", reason="no Ray here: pip install 'selsa[cluster]'")
pytestmark = pytest.mark.slow
FRAMES = 24


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    with local_cluster([2, 2]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def settings(nodes: Any) -> ServerSettings:
    return ServerSettings(
        cluster=True,
        address=nodes.address,
        replicas=2,
        replica_cpus=0.5,
        replica_start_timeout=300,
        object_store=100 << 20,
    )


@pytest.fixture(scope="module")
def cluster(settings: ServerSettings) -> Iterator[Cluster]:
    with on_cluster(settings) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [write_video(folder / f"{n}.mp4", FRAMES - n, codec="mpeg4") for n in range(4)]


def results(pipeline: DetectionPipeline, video: Path) -> list[dict[str, Any]]:
    records = [record.model_dump() for record in pipeline.run(video, DetectParams())]
    return records[:-1]


def test_detections_equal_the_local_pipeline_also_when_replicas_are_killed(
    cluster: Cluster, videos: list[Path]
) -> None:
    slow = fake_pipeline(FakeEngines())
    expected = [results(slow, video) for video in videos]
    bundle = cluster.around(fake_bundle(FakeEngines()), FakeLoad(seconds_per_frame=0.02))
    pipeline = DetectionPipeline(bundle, fake_pipeline(FakeEngines()).options)
    done = threading.Event()

    def kill() -> None:
        """One replica after the other."""
        for _ in range(2):
            done.wait(0.4)
            pids = [
                int(path.name)
                for path in Path("/proc").iterdir()
                if path.name.isdecimal() and b"ServeReplica:selsa" in _command(path)
            ]
            if pids and not done.is_set():
                os.kill(min(pids), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda video: results(pipeline, video), videos))
    done.set()
    killer.join()
    assert found == [
        [{**first, "model": found[n][0]["model"]}, *frames] for n, (first, *frames) in enumerate(expected)
    ]


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_an_engine_error_on_a_replica_is_raised_in_the_server(cluster: Cluster, videos: list[Path]) -> None:
    load = FakeLoad(fail_at=1)
    bundle = cluster.around(fake_bundle(FakeEngines()), load)
    frame = bundle.manifest.preprocess.prepare(np.zeros((48, 64, 3), "uint8"))
    with pytest.raises(EngineError, match="the fake engine was told to fail"):
        for _ in range(4):
            bundle.engines.run_frames(frame.pixels[None], np.array([frame.image_size]))


def test_a_batch_has_one_result_per_video_and_is_not_repeated(
    cluster: Cluster, videos: list[Path], tmp_path: Path
) -> None:
    local = fake_pipeline(FakeEngines())
    (videos[0].parent / "junk.mp4").write_bytes(b"x" * 1000)
    digest = local.bundle.digest
    plan = BatchPlan(
        open_bundle=WorkerBundle(
            load=FakeLoad(), application=cluster.deploy(digest, FakeLoad()), place="ingress"
        ),
        options=local.options,
        params=DetectParams(),
        output=open_output(str(tmp_path), "ndjson", {"bundle": digest}),
        workers=2,
        worker_cpus=0.25,
        start_seconds=300,
    )
    told: list[str] = []
    found = find_videos([str(videos[0].parent)])
    first, second = (summarize(found, plan, told.append, told.append) for _ in range(2))
    assert (first.states, second.states) == ({"done": 4, "failed": 1}, {"there": 4, "failed": 1})
    report = orjson.loads((tmp_path / "report.json").read_bytes())
    assert [failure["code"] for failure in report["failures"]] == ["not_a_video"]
    for video in videos:
        lines = (tmp_path / f"{video.name}.ndjson").read_bytes().splitlines()
        frames = [orjson.loads(line) for line in lines[1:-1]]
        assert frames == [orjson.loads(orjson.dumps(each)) for each in results(local, video)[1:]]


def test_replicas_without_a_node_are_reported_and_given_up(
    cluster: Cluster, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selsa_server.cluster.deployment.SAY_SECONDS", 1.0)
    told: list[str] = []
    large = settings.model_copy(update={"replica_cpus": 64, "replica_start_timeout": 3})
    with pytest.raises(ClusterError, match=r"within 3 s: replicas: 2 STARTING"):
        replace(cluster, settings=large, say=told.append).deploy("sha256:large", FakeLoad())
    assert all("the engines do not run yet, after" in each for each in told)
    assert told


@pytest.mark.parametrize(
    ("worker_cpus", "reason"),
    [(64, "a worker of 64 cores within 5 s"), (0, "the workers do not start on the cluster: .*'?none'?")],
    ids=["no room", "no engines"],
)
def test_workers_that_do_not_start_end_the_batch(
    cluster: Cluster, videos: list[Path], tmp_path: Path, worker_cpus: float, reason: str
) -> None:
    plan = BatchPlan(
        open_bundle=WorkerBundle(load=FakeLoad(), application="none", place="ingress"),
        options=fake_pipeline(FakeEngines()).options,
        params=DetectParams(),
        output=open_output(str(tmp_path), "ndjson", {}),
        workers=2,
        worker_cpus=worker_cpus,
        start_seconds=5 if worker_cpus else 300,
    )
    with pytest.raises(ClusterError, match=reason):
        list(run_batch(find_videos([str(videos[0])]), plan))


def refusal(*arguments: str) -> str:
    app = typer.Typer()
    app.command("serve")(serve)
    result = CliRunner().invoke(app, ["--cluster", *arguments])
    assert (result.exit_code, result.stdout) == (3, ""), result.output
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_an_address_without_a_cluster_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "no Ray cluster answers at 127.0.0.1:9: Connection refused" in refusal("--address", "127.0.0.1:9")
    assert "address is 'nowhere'" in refusal("--address", "nowhere")
    monkeypatch.setattr("selsa_server.cluster.connection.JOIN_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert f"what listens at {address} does not answer as a Ray" in refusal("--address", address)


def test_a_cluster_of_another_version_is_refused_in_one_line(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import ray\nray.__version__ = '1.0.0'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = refusal("--address", nodes.address)
    assert f"has Ray {ray.__version__}" in said and "here are Ray 1.0.0" in said

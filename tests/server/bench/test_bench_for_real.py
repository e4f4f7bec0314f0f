"""`selsa bench` on the packaged bundle: a real server with real clients, and ONNX Runtime's own profile."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import typer
from typer.testing import CliRunner

from selsa_bundle.default_bundle import default_bundle, sample_video
from selsa_bundle.runtimes.load import load_engines
from selsa_server.bench.engine_work import EngineWork, first_frames
from selsa_server.bench.errors import BenchError
from selsa_server.bench.operators import kind_of, onnx_profile
from selsa_server.bench.served import serving
from selsa_server.bench.ways import all_ways
from selsa_server.cli.bench import bench
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video


def test_a_real_server_is_measured_with_several_clients(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(bench)
    figures = tmp_path / "bench.json"
    arguments = ["--phases", "server", "--clients", "1,2", "--rounds", "1", "--frames", "2"]
    done = CliRunner().invoke(app, [*arguments, "--bundle", str(default_bundle()), "--json", str(figures)])
    assert done.exit_code == 0, done.output
    assert "server, 2 at the same time" in done.stdout
    (way,) = json.loads(figures.read_text())["ways"]
    assert set(way["seconds"]) == {"server_1", "server_2"}


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (way,) = all_ways([tmp_path], providers=["cpu"], precisions=["fp32"], threads=[1], batches=[1])
    with pytest.raises(BenchError, match=r"did not start: .*manifest\.json"), serving(way):
        pass


def test_operators_are_told_apart_and_fill_the_run() -> None:
    loaded = load_engines(default_bundle())
    index = index_video(sample_video(), VideoLimits())
    work = EngineWork(loaded, first_frames(loaded.manifest.preprocess, sample_video(), index, 1))
    graph = default_bundle() / loaded.manifest.engines["fp32"]["sequence"].file
    profile = onnx_profile("sequence", graph, work.sequence_inputs(), threads=1, runs=2)
    assert 0 < sum(each.seconds for each in profile.operators) <= profile.run
    assert profile.kinds["convolutions and matrix products"] > 0
    assert kind_of("NonMaxSuppression") == "suppression"
    assert kind_of("Relu") == "element by element"


def test_a_bench_that_is_told_to_end_leaves_no_server_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import typer, selsa_server.cli.bench as c; typer.run(c.bench)"]
    options = ["--phases", "server", "--rounds", "1000", "--frames", "2", "--bundle", str(default_bundle())]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("round 1 of" in line for line in process.stderr)
        servers = [
            child for child in psutil.Process(process.pid).children() if "serve" in str(child.cmdline())
        ]
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert len(servers) == 1
    assert not servers[0].is_running()

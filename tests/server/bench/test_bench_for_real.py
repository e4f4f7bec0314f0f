"""`selsa bench` on the packaged bundle: a real server with real clients."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import typer
from typer.testing import CliRunner

from selsa_bundle.default_bundle import synthetic_bundle
from selsa_server.bench.served import serving
from selsa_server.bench.ways import BenchError, all_ways
from selsa_server.cli.bench import bench


def test_a_real_server_is_measured_with_several_clients(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(bench)
    figures = tmp_path / "bench.json"
    arguments = ["--phases", "server", "--clients", "1,2", "--rounds", "1", "--frames", "2"]
    done = CliRunner().invoke(app, [*arguments, "--bundle", str(synthetic_bundle()), "--json", str(figures)])
    assert done.exit_code == 0, done.output
    assert "server, 2 clients at the same time" in done.stdout
    (way,) = json.loads(figures.read_text())["ways"]
    assert set(way["seconds"]) == {"server_1", "server_2"}


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (way,) = all_ways([tmp_path], providers=["cpu"], precisions=["fp32"], threads=[1], batches=[1])
    with pytest.raises(BenchError, match=r"did not start: .*manifest\.json"), serving(way):
        pass


def test_sigterm_stops_the_servers_of_a_bench(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import typer, selsa_server.cli.bench as c; typer.run(c.bench)"]
    options = ["--phases", "server", "--rounds", "1000", "--frames", "2", "--bundle", str(synthetic_bundle())]
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

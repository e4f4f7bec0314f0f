"""`--provider` and `--precision`: what runs is what was asked for, and every answer says what it was."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from selsa_bundle.default_bundle import synthetic_bundle, synthetic_video
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.load import load_engines
from selsa_server.api.app import build_app
from selsa_server.cli.bench import bench
from selsa_server.cli.serve import serve
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.settings import ServerSettings

SELSA = str(Path(sys.executable).parent / "selsa")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)


def refusal(command, *arguments: str) -> str:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 3, done.output
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--precision", "int8"], "this bundle has no int8 engines (it has fp32)"),
        (["--precision", "int4"], "precision is 'int4'"),
        (["--provider", "cpu", "--precision", "bf16"], "cpu computes in fp32, int8; bf16 needs"),
        (["--provider", "abacus"], "provider is 'abacus'"),
    ],
)
def test_the_server_does_not_start_with_an_unavailable_provider_or_precision(
    arguments: list[str], said: str
) -> None:
    line = refusal(serve, "--bundle", str(synthetic_bundle()), *arguments)
    assert said in line
    assert line.count("\n") == 1


def test_bench_names_the_allowed_values() -> None:
    assert "--provider is 'abacus'; allowed are auto, tensorrt, cuda" in refusal(
        bench, "--provider", "abacus"
    )


@needs_openvino
def test_the_model_and_the_video_record_name_the_actual_provider(tmp_path: Path) -> None:
    bundle = load_engines(synthetic_bundle(), EngineOptions(provider="openvino", precision="fp32"))
    settings = ServerSettings(spool_dir=tmp_path, jobs_dir=tmp_path / "jobs")
    with TestClient(build_app(DetectionPipeline(bundle), settings)) as client:
        model = client.get("/model").json()
        with synthetic_video().open("rb") as video:
            answer = client.post("/detect?end=0.05&reference_frames=1", files={"file": video}).json()
        status = client.get("/v1/models/tiny").json()
    assert (model["provider"], model["precision"], model["why"]) == ("OpenVINO", "fp32", "as asked for")
    assert answer["video"]["model"]["provider"] == "OpenVINO"
    assert (status["provider"], status["precision"]) == ("OpenVINO", "fp32")


@needs_openvino
def test_local_detection_runs_on_the_named_provider() -> None:
    command = [SELSA, "detect", "--local", "--provider", "openvino", "--end", "0.05", str(synthetic_video())]
    done = subprocess.run([*command, "--reference-frames", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["model"]["provider"] == "OpenVINO"


def test_local_detection_in_an_unavailable_precision_is_one_error() -> None:
    done = subprocess.run(
        [SELSA, "detect", "--local", "--precision", "int8", str(synthetic_video())],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "this bundle has no int8 engines" in done.stderr
    assert "Traceback" not in done.stderr

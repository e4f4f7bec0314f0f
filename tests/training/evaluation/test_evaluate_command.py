"""`selsa evaluate` from end to end, and what it refuses."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import cv2
import pytest
import typer
from evaluated import SMALL, small_checkpoint, write_set
from typer.testing import CliRunner, Result

from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.runtimes.load import verify_bundle
from selsa_training.checkpoint.checkpoint import save_checkpoint
from selsa_training.cli.evaluate import evaluate
from selsa_training.evaluation.opened_model import ModelOptions, open_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("synthetic") / "set", length=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "checkpoint"
    save_checkpoint(path, SMALL, small_checkpoint().tensors, "untrained")
    return path


def invoke(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_modes_are_printed_together_and_the_document_allows_a_repetition(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    document = tmp_path / "scores.json"
    # The folder of a training run stands for the checkpoint in it.
    result = invoke(
        checkpoint.parent, "--data", folder, "--json", document, "--reference-frames", 3, "--proposals", 9
    )
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[:7] == ["AP50", "all", "slow", "medium", "fast", "degraded", "clear"]
    assert [line.split()[0] for line in lines[1:]] == ["sequence", "online", "single"]
    assert "2 videos, 8 frames" in result.stderr
    content = json.loads(document.read_text())
    assert content["selsa"] == version("selsa")
    assert content["model"]["sha256"] == json.loads((checkpoint / "checkpoint.json").read_text())["sha256"]
    assert content["settings"]["reference_frames"] == 3
    assert content["settings"]["proposals"] == 9
    assert content["data"]["synthesis"] == json.loads((folder / "synthesis.json").read_text())
    assert (content["data"]["split"], content["data"]["frames"]) == ("val", 8)
    assert list(content["modes"]) == ["sequence", "online", "single"]


def test_curves_are_tables_a_document_and_a_picture(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    document, picture = tmp_path / "scores.json", tmp_path / "curves.png"
    result = invoke(
        *(checkpoint, "--data", folder, "--mode", "single", "--limit", 1, "--classes-table"),
        *("--curve", "proposals", "--curve", "reference_frames", "--plot", picture, "--json", document),
    )
    assert result.exit_code == 0
    curves = json.loads(document.read_text())["curves"]
    values = {name: [point["value"] for point in curve] for name, curve in curves.items()}
    assert values == {"reference_frames": [0, 1, 2, 4, 8, 14, 30], "proposals": [8, 12]}
    titles = [line[:24].strip() for line in result.stdout.splitlines()]
    assert titles.index("reference frames") < titles.index("proposals") < titles.index("single", 5)
    assert "zebra" in result.stdout
    height, width = cv2.imread(str(picture)).shape[:2]
    assert height > 400
    assert width > 1000


def test_a_packaged_bundle_is_found_by_its_name() -> None:
    opened = open_model(Path("synthetic"), ModelOptions())
    assert opened.bundle == synthetic_bundle()


def test_a_bundle_contains_its_report(r18_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(r18_bundle, bundle)
    folder = write_set(tmp_path / "set", clips=1, length=2)
    arguments = (bundle, "--data", folder, "--mode", "single", "--write-report", "--threads", 1)
    assert invoke(*arguments).exit_code == 0
    manifest, digest = verify_bundle(bundle)
    assert manifest.evaluation is not None
    _, before = verify_bundle(r18_bundle)
    assert digest != before
    model = json.loads((bundle / manifest.evaluation.file).read_text())["model"]
    assert model["digest_without_evaluation"] == before
    assert model["checkpoint_sha256"] == manifest.provenance.checkpoint_sha256


def test_a_path_that_cannot_be_evaluated_is_refused_in_one_line(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    other = json.loads((folder / "val.json").read_text())
    other["categories"][0]["name"] = "wombat"
    (tmp_path / "other.json").write_text(json.dumps(other))
    for arguments, said in (
        ((checkpoint, "--data", tmp_path / "nowhere"), "nowhere does not exist"),
        ((folder, "--data", folder), "is none of: a bundle"),
        ((checkpoint, "--data", folder, "--write-report"), "only a bundle holds a report"),
        ((checkpoint, "--data", folder, "--plot", tmp_path / "a.png"), "name one with --curve"),
        ((checkpoint, "--data", folder, "--json", tmp_path / "no/a.json"), "there is no folder"),
        ((checkpoint, "--data", folder, "--mode", "batch"), "allowed are sequence, online, single"),
        ((checkpoint, "--data", folder, "--proposals", 61), "allowed are 1 to 60"),
        (
            (checkpoint, "--data", tmp_path / "other.json", "--images-folder", folder),
            "the data set has 1 that the model has not: wombat",
        ),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 3, arguments
        assert result.stderr.startswith("error: ")
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_an_image_that_is_missing_is_named_before_anything_is_run(checkpoint: Path, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", clips=1, length=3)
    (folder / "val/00000/000001.png").unlink()
    result = invoke(checkpoint, "--data", folder)
    assert result.exit_code == 3
    assert "000001.png: missing image" in result.stderr
    assert not result.stdout

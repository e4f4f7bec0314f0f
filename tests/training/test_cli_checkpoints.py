"""The commands print a path on stdout and messages on stderr; an expected error is one line and status 3."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from published_state import published_state_dict
from typer.testing import CliRunner

from selsa_training.checkpoint.checkpoint import load_checkpoint
from selsa_training.checkpoint.untrained import untrained_tensors
from selsa_training.cli import weights as cli
from selsa_training.config import CONFIGS


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("import")(cli.import_published)
    app.command("pull")(cli.pull)
    app.command("init")(cli.init)
    return app


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An r18 file in the format of the published ones."""
    config = CONFIGS["r18-dc5"]
    path = tmp_path_factory.mktemp("published") / "r18.pth"
    state = published_state_dict(config, untrained_tensors(config, 1))
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    return path


def test_init_makes_a_checkpoint_and_says_that_it_is_untrained(app: typer.Typer, tmp_path: Path) -> None:
    target = tmp_path / "new"
    result = CliRunner().invoke(app, ["init", "r18-dc5", "-o", str(target), "--seed", "1"])
    assert result.exit_code == 0
    assert result.stdout == f"{target}\n"
    assert "untrained" in result.stderr
    checkpoint = load_checkpoint(target)
    assert checkpoint.config == CONFIGS["r18-dc5"]
    assert checkpoint.origin == "untrained weights, seed 1"


def test_import_gives_the_checkpoint_that_the_file_holds(
    app: typer.Typer, tmp_path: Path, published: Path
) -> None:
    target = tmp_path / "imported"
    result = CliRunner().invoke(app, ["import", str(published), "-o", str(target), "--name", "mine"])
    assert result.exit_code == 0
    assert result.stdout == f"{target}\n"
    assert "mine: resnet18, 30 classes, 152 tensors" in result.stderr
    checkpoint = load_checkpoint(target)
    assert checkpoint.config == CONFIGS["r18-dc5"].model_copy(update={"name": "mine"})
    tensors = untrained_tensors(CONFIGS["r18-dc5"], 1)
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in tensors.items())

    again = CliRunner().invoke(app, ["import", str(published), "-o", str(target)])
    assert again.exit_code == 3
    assert "already exists" in again.stderr
    assert load_checkpoint(target).config.name == "mine"

    over = CliRunner().invoke(app, ["import", str(published), "-o", str(target), "--overwrite"])
    assert over.exit_code == 0
    assert load_checkpoint(target).config.name == "r18-dc5"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "nowhere.pth", "-o", "out"], "nowhere.pth"),
        (["import", __file__, "-o", "out"], "not a .pth file"),
        (["import", __file__, "-o", "out", "--name", "a/b"], "--name 'a/b' is not allowed"),
        (["pull", "r34"], "r50-dc5, r50-dc5-fp16, r101-dc5, x101-dc5"),
        (["pull", "r50-dc5", "-o", "taken"], "already exists"),
        (["init", "r34", "-o", "out"], "r50-dc5, r101-dc5, x101-dc5, r18-dc5"),
        (["init", "r18-dc5", "-o", "taken"], "already exists"),
    ],
)
def test_an_expected_error_is_one_line_and_status_3(
    app: typer.Typer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SELSA_CACHE", str(tmp_path / "cache"))
    Path("taken").mkdir()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not Path("out").exists()


def test_importing_the_commands_loads_no_heavy_module() -> None:
    heavy = ("torch", "numpy", "cv2", "httpx", "onnxruntime", "safetensors", "pydantic")
    code = f"import sys, selsa_training.cli.weights; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_pull_needs_no_training_stack(tmp_path: Path) -> None:
    heavy = "[n for n in ('torch', 'cv2', 'numpy') if n in sys.modules]"
    code = f"import sys, selsa_training.published.pull; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

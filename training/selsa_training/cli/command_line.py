"""Shared by the commands of this package: progress bars, and errors in one line."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EXPECTED_ERROR: Final = 3


@contextlib.contextmanager
def progress_bars(*titles: str) -> Iterator[list[Callable[[int, int], None]]]:
    """Progress bars on stderr; nothing is drawn if stderr is no terminal.

    Yields a callback (done, total) for each title.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks = [bar.add_task(title, total=None, visible=False) for title in titles]
        yield [partial(_advance, bar, task) for task in tasks]


def _advance(bar: "Progress", task: "TaskID", done: int, total: int) -> None:
    bar.update(task, completed=done, total=total, visible=True)


@contextlib.contextmanager
def expected_errors() -> Iterator[None]:
    """One line on stderr and exit status 3 for expected errors."""
    from selsa_bundle.errors import BundleError
    from selsa_bundle.files.new_folder import TargetTakenError
    from selsa_training.checkpoint.errors import CheckpointError
    from selsa_training.data.errors import DataError
    from selsa_training.evaluation.errors import EvaluationError
    from selsa_training.everyday_training.errors import SourceError
    from selsa_training.recipe.errors import TrainingError

    expected = (
        *(BundleError, CheckpointError, DataError, EvaluationError),
        *(SourceError, TargetTakenError, TrainingError),
    )
    try:
        yield
    except expected as error:
        say(f"error: {' '.join(str(error).split())}")
        raise typer.Exit(EXPECTED_ERROR) from error


def say(text: str) -> None:
    """Write a message to stderr."""
    typer.echo(text, err=True)

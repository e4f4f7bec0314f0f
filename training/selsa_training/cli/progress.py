"""A progress bar on stderr, for people only."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from selsa_training.published.download import ProgressCallback


@contextlib.contextmanager
def download_bar(title: str) -> Iterator[ProgressCallback]:
    """A bar while the context lasts; yields what to call with (bytes so far, bytes in all or None).

    Nothing is drawn where stderr is no terminal.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

"""The progress bar of a download."""

import contextlib
from collections.abc import Iterator

from selsa_bundle.remote.download import ProgressCallback


@contextlib.contextmanager
def download_bar(title: str) -> Iterator[ProgressCallback]:
    """A progress bar if stderr is a terminal; yields a callback (bytes so far, total bytes or None)."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
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

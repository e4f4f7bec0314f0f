"""The cache of downloaded files and bundles, and its progress bar."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from selsa_bundle.remote.download import ProgressCallback


def default_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """The cache folder: `SELSA_CACHE`, else `selsa` in `XDG_CACHE_HOME`, else `~/.cache/selsa`."""
    if chosen := environment.get("SELSA_CACHE"):
        return Path(chosen).expanduser()
    base = environment.get("XDG_CACHE_HOME")
    # The XDG base directory specification says to ignore a relative path.
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "selsa"


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

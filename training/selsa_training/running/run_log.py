"""The log of a run: JSON lines, TensorBoard, a progress bar."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

# Ten lines an hour.
SECONDS_PER_LINE: Final = 360.0


class RunLog:
    """The log of one process; with `None` as paths it writes nothing.

    A resumed run deletes the lines of the steps that it repeats.
    """

    def __init__(self, log: Path | None, tensorboard: Path | None, *, step: int = 0) -> None:
        self._file = None
        self._board = None
        if log is not None:
            _cut(log, step)
            self._file = log.open("a", encoding="utf-8")
        if tensorboard is not None:
            self._board = SummaryWriter(str(tensorboard), purge_step=step)

    def event(self, name: str, **fields: Any) -> None:
        """Write a line about an event."""
        self._write({"event": name, **fields})

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write a line about a step, and its values as TensorBoard scalars."""
        self._write({"event": "step", "step": step, **values})
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def picture(self, step: int, name: str, image: npt.NDArray[np.uint8]) -> None:
        """Write a picture, uint8 [h, w, 3] RGB, for TensorBoard."""
        if self._board is not None:
            self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Write buffered data and close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def _write(self, fields: Mapping[str, Any]) -> None:
        if self._file is not None:
            clean = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in fields.items()}
            self._file.write(json.dumps(clean) + "\n")
            self._file.flush()


def _cut(path: Path, step: int) -> None:
    """Remove the lines of `step` and later steps, and an incomplete last line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("step", -1) < step:
            kept.append(line)
    part = path.with_name(f".{path.name}.part")
    part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    part.replace(path)


@contextmanager
def training_bar(
    title: str, total: int, *, done: int = 0, quiet: bool = False
) -> Iterator[Callable[[int, str], None]]:
    """A progress bar on stderr with a text beside it, or ten lines an hour if stderr is not a terminal."""
    console = Console(stderr=True)
    if not quiet and not console.is_terminal:
        yield _Lines(title, total, done).report
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(title, total=total, completed=done, state="")
        yield lambda step, state: progress.update(task, completed=step, state=state)


class _Lines:
    """Progress as lines, at most one in `SECONDS_PER_LINE`."""

    def __init__(self, title: str, total: int, done: int) -> None:
        self._title, self._total, self._first = title, total, done
        self._started = self._last = time.monotonic()

    def report(self, step: int, state: str) -> None:
        now = time.monotonic()
        if now - self._last < SECONDS_PER_LINE or step <= self._first:
            return
        self._last = now
        left = (now - self._started) / (step - self._first) * (self._total - step)
        text = f"{self._title}: step {step} of {self._total}, {state}, about {left / 60:.0f} minutes left"
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

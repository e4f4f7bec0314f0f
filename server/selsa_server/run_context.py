"""The context of one run, passed through all layers: cancellation, timings and progress."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field


class StoppedError(Exception):
    """The run was stopped while it waited, for an engine or a decoder."""


class Stopwatch:
    """Seconds spent per part. Threads work at the same time, so the parts overlap.

    Args:
        parts: shown even if no time is counted for them.
    """

    def __init__(self, parts: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._seconds = dict.fromkeys(parts, 0.0)
        self.started = time.perf_counter()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the block as part of `part`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - started)

    def add(self, part: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        with self._lock:
            self._seconds[part] = self._seconds.get(part, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """Seconds per part since this was made, or since the last call."""
        with self._lock:
            taken = self._seconds
            self._seconds = dict.fromkeys(taken, 0.0)
        return taken

    @property
    def elapsed(self) -> float:
        """Seconds since this was made."""
        return round(time.perf_counter() - self.started, 6)

    @property
    def parts(self) -> dict[str, float]:
        """Seconds per part so far."""
        return {part: round(max(0.0, seconds), 6) for part, seconds in self._seconds.copy().items()}


@dataclass(slots=True)
class Progress:
    """Frames of one run: written by the thread that runs it, read by any other.

    Attributes:
        total: frames that were selected; None until that is known.
        done: selected frames that have a record or cannot be decoded.
    """

    total: int | None = None
    done: int = 0

    @property
    def left(self) -> int:
        """Selected frames that were not worked on: what a cancellation saves."""
        return 0 if self.total is None else self.total - self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """One run. Each layer takes what it needs of it.

    Attributes:
        stopped: whether the run is to end. Any thread calls it, before each engine call and while one waits.
        clock: seconds per part of the work.
        progress: frames selected and done.
    """

    stopped: Callable[[], bool] = lambda: False
    clock: Stopwatch = field(default_factory=Stopwatch)
    progress: Progress = field(default_factory=Progress)

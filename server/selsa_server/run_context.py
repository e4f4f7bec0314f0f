"""What accompanies one run of the pipeline through all layers: cancellation, timings and progress."""

from collections.abc import Callable
from dataclasses import dataclass, field

from selsa_server.stopwatch import Stopwatch


class StoppedError(Exception):
    """The run was stopped while it waited, for an engine or a decoder."""


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
        stopped: whether the run is to end; asked by any thread, before every engine call and while one waits.
        clock: seconds per part of the work.
        progress: frames selected and done.
    """

    stopped: Callable[[], bool] = lambda: False
    clock: Stopwatch = field(default_factory=Stopwatch)
    progress: Progress = field(default_factory=Progress)

"""A run that is asked to stop (Ctrl-C, SIGTERM) finishes its step and saves its state."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from types import FrameType


class StoppedError(Exception):
    """A run stopped because a signal asked it to, and saved its state.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int, step: int, total: int) -> None:
        super().__init__(f"stopped after step {step} of {total} and saved; --resume continues")
        self.signal = number


@dataclass(slots=True)
class StopRequest:
    """Whether this process was asked to stop.

    Attributes:
        signal: the number of the signal that asked; 0: none.
    """

    signal: int = 0


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Take note of the first SIGINT or SIGTERM; a second one ends the process as usual.

    Python calls handlers in its main thread only, so elsewhere nothing is installed.
    """
    request = StopRequest()
    if current_thread() is not main_thread():
        yield request
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        request.signal = number
        restore()

    for number in usual:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()

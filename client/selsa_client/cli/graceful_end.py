"""Ctrl-C on an endless video: the first ends the video and waits for the summary, the second aborts."""

import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Failure:
    error: Exception


class Endable(Generic[T]):
    """Items that another thread can end, even while the reader waits for the next one."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self._ended = threading.Event()
        # One item read ahead, and space for the None that marks the end.
        self._read: queue.Queue[T | _Failure | None] = queue.Queue(2)

    def end(self) -> None:
        """End the items."""
        self._ended.set()
        with suppress(queue.Full):  # then the reader wakes up anyway
            self._read.put_nowait(None)

    def each(self) -> Generator[T, None, None]:
        """The items until the end, read in a daemon thread."""
        threading.Thread(target=self._read_all, name="endable", daemon=True).start()
        try:
            while (item := self._read.get()) is not None and not self._ended.is_set():
                if isinstance(item, _Failure):
                    raise item.error
                yield item
        finally:
            self._ended.set()
            with suppress(queue.Empty):
                while True:
                    self._read.get_nowait()

    def _read_all(self) -> None:
        try:
            for item in self._items:
                self._read.put(item)
                if self._ended.is_set():
                    break
        except Exception as error:  # noqa: BLE001 - raised in `each`
            self._read.put(_Failure(error))
        finally:
            if isinstance(self._items, Generator):
                self._items.close()
            self._read.put(None)


@contextmanager
def first_interrupt(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` in a thread at the first Ctrl-C; the second one raises KeyboardInterrupt as usual."""
    before = signal.getsignal(signal.SIGINT)

    def ended() -> None:
        with suppress(Exception):  # the reader of the records gets the error
            end()

    def interrupted(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        # In a thread: the handler interrupts code that may hold a lock that `end` needs.
        threading.Thread(target=ended, daemon=True).start()

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

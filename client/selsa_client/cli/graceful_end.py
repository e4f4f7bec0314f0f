"""Ctrl-C on a video that never ends: the first asks for what is left and the summary, the second leaves."""

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
    """Items that another thread may end, even while the next one is being waited for."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self._ended = threading.Event()
        # One item read ahead, and room for the None that says that no more come.
        self._read: queue.Queue[T | _Failure | None] = queue.Queue(2)

    def end(self) -> None:
        """No item follows."""
        self._ended.set()
        with suppress(queue.Full):  # what is there wakes the reader as well
            self._read.put_nowait(None)

    def each(self) -> Generator[T, None, None]:
        """The items until then, read in a thread that nobody waits for."""
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
        except Exception as error:  # noqa: BLE001 - raised where the items are taken
            self._read.put(_Failure(error))
        finally:
            if isinstance(self._items, Generator):
                self._items.close()
            self._read.put(None)


@contextmanager
def first_interrupt(end: Callable[[], None]) -> Iterator[None]:
    """Call `end`, in a thread, at the first Ctrl-C inside; a second one is a KeyboardInterrupt as ever."""
    before = signal.getsignal(signal.SIGINT)

    def ended() -> None:
        with suppress(Exception):  # whoever reads the records is told
            end()

    def interrupted(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        # Not here: the handler interrupts code that may hold what `end` waits for.
        threading.Thread(target=ended, daemon=True).start()

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

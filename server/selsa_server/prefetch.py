"""Work ahead of the engines: an iterator that runs in a thread of its own, a bounded way ahead."""

import threading
from collections import deque
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["Prefetch"]

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Iterate `source` in a thread, at most `depth` items ahead of the consumer.

    A context manager: leaving it stops the thread after the item in hand, closes the source in that thread
    and waits for it. An exception of the source is raised to the consumer in its place.
    """

    def __init__(self, source: Generator[T, None, None], depth: int) -> None:
        self._source = source
        self._depth = max(1, depth)
        self._items: deque[T] = deque()
        self._change = threading.Condition()
        self._stop = False
        self._done = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._produce, name="selsa-prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._change:
            self._stop = True
            self._items.clear()
            self._change.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._items or self._done)
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._change.notify_all()
            yield item

    def _produce(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._source:
                with self._change:
                    self._change.wait_for(lambda: self._stop or len(self._items) < self._depth)
                    if self._stop:
                        break
                    self._items.append(item)
                    self._change.notify_all()
            self._source.close()
        except BaseException as raised:  # noqa: BLE001 - whatever it is, the consumer gets it
            error = raised
        with self._change:
            self._error, self._done = error, True
            self._change.notify_all()

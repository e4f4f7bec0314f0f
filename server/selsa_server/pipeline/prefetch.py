"""Decoding ahead of the engines: an iterator that runs in its own thread, up to a fixed depth ahead."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

# A waiting consumer polls `stopped` this often, in seconds.
LOOK_SECONDS: Final = 0.1

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Iterate `source` in a thread, at most `depth` items ahead of the consumer.

    A context manager: leaving it stops the thread after its current item, closes the source in that thread
    and waits for it. An exception of the source is raised to the consumer in its place.

    Args:
        source: runs in the thread, which also closes it.
        depth: items that may wait for the consumer.
        droppable: whether an item may be left out, the oldest first, when the consumer is too slow; without
            it, the source waits.
        interrupt: called when the thread is told to stop; makes the source end its current item soon, if it
            can. An exception of the source is then ignored.
        stopped: polled while the consumer waits; once it is true, the consumer gets no more items.

    Attributes:
        dropped: items that were left out.
    """

    def __init__(
        self,
        source: Generator[T, None, None],
        depth: int,
        *,
        droppable: Callable[[T], bool] | None = None,
        interrupt: Callable[[], None] = lambda: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source = source
        self._droppable = droppable
        self._interrupt = interrupt
        self._stopped = stopped
        self.dropped = 0
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
            done = self._done
        if not done:
            self._interrupt()
        self._thread.join()

    def __len__(self) -> int:
        """Items that wait for the consumer."""
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        while item := self.take(1):
            yield item[0]

    def take(self, most: int) -> list[T]:
        """The waiting items, one at least and `most` at most; none after the end, or once stopped."""
        with self._change:
            while not self._change.wait_for(lambda: self._items or self._done, LOOK_SECONDS):
                if self._stopped():
                    return []
            if not self._items and self._error is not None:
                raise self._error
            items = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._change.notify_all()
            return items

    def _produce(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._source:
                with self._change:
                    self._make_room()
                    self._change.wait_for(lambda: self._stop or len(self._items) < self._depth)
                    if self._stop:
                        break
                    self._items.append(item)
                    self._change.notify_all()
            self._source.close()
        except BaseException as raised:  # noqa: BLE001 - raised to the consumer
            error = raised
        with self._change:
            self._error, self._done = error, True
            self._change.notify_all()

    def _make_room(self) -> None:
        if self._droppable is None or len(self._items) < self._depth:
            return
        oldest = next((i for i, item in enumerate(self._items) if self._droppable(item)), None)
        if oldest is not None:
            del self._items[oldest]
            self.dropped += 1

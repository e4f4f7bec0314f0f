"""Engine calls of one video that run at the same time."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

# While one call is in a part that uses one core, such as suppression, the other one uses the rest; and two
# calls on half the cores each take less time than two on all. Measured by benchmarks/speed/schedules.py.
CALLS: Final = 2
# Seconds.
LOOK_SECONDS: Final = 0.05
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    items: Iterable[Item], compute: Callable[[Item], Result], calls: int, stopped: Callable[[], bool]
) -> Generator[tuple[Item, Result], None, None]:
    """Each item with `compute` of it, in order; up to `calls` are computed at the same time, in threads.

    Polls `stopped` in the caller's thread while it waits: the threads may not be able to see it themselves.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(calls, "selsa-run") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(compute, item)))
                # One more than the threads take, so that none of them waits for the next item.
                if len(waiting) > calls:
                    first, result = waiting.popleft()
                    yield first, _result(result, stopped)
            while waiting:
                first, result = waiting.popleft()
                yield first, _result(result, stopped)
        finally:
            for _, result in waiting:
                result.cancel()


def _result(future: "Future[Result]", stopped: Callable[[], bool]) -> Result:
    while not wait([future], LOOK_SECONDS).done:
        stopped()
    return future.result()

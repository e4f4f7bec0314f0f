"""An iterator that works ahead in a thread of its own."""

import threading
import time
from collections.abc import Generator

import pytest

from selsa_server.pipeline.prefetch import Prefetch


def counting(stop: int, made: list[int], closed: list[str]) -> Generator[int, None, None]:
    try:
        for i in range(stop):
            made.append(i)
            yield i
    finally:
        closed.append(threading.current_thread().name)


def test_everything_arrives_in_order() -> None:
    closed: list[str] = []
    with Prefetch(counting(100, [], closed), depth=3) as items:
        assert list(items) == list(range(100))
    assert closed == ["selsa-prefetch"]


def test_it_is_never_more_than_its_depth_ahead() -> None:
    made: list[int] = []
    with Prefetch(counting(100, made, []), depth=3) as items:
        for taken, _ in enumerate(items, start=1):
            time.sleep(0.001)
            # In the queue, and one in hand.
            assert len(made) <= taken + 3 + 1


def test_leaving_early_closes_the_source_in_its_thread_and_waits_for_it() -> None:
    made: list[int] = []
    closed: list[str] = []
    before = threading.active_count()
    with Prefetch(counting(10**9, made, closed), depth=2) as items:
        assert next(iter(items)) == 0
    assert closed == ["selsa-prefetch"]
    assert threading.active_count() == before
    assert len(made) <= 4


def test_an_error_comes_after_the_items_before_it() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise ValueError("the third is broken")

    found = []
    with pytest.raises(ValueError, match="third"), Prefetch(failing(), depth=5) as items:
        for item in items:
            found.append(item)
    assert found == [1]


def test_a_source_without_items_ends_at_once() -> None:
    with Prefetch(counting(0, [], []), depth=1) as items:
        assert list(items) == []

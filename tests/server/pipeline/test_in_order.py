"""Calls of one video run at the same time, and their results come in order."""

import subprocess
import sys
import threading

import pytest

from selsa_server.pipeline.calls import in_order


def never() -> bool:
    return False


def test_results_come_in_the_order_of_the_items_whichever_is_done_first() -> None:
    second_done = threading.Event()

    def compute(item: int) -> int:
        if item == 0:
            assert second_done.wait(60)
        if item == 1:
            second_done.set()
        return item * 10

    assert list(in_order(range(5), compute, 2, never)) == [(i, i * 10) for i in range(5)]


@pytest.mark.parametrize("calls", [1, 2])
def test_at_most_that_many_calls_run_at_once_and_one_more_waits(calls: int) -> None:
    running, most, taken, waiting = 0, 0, 0, []
    lock = threading.Lock()

    def items():
        nonlocal taken
        for item in range(20):
            taken += 1
            yield item

    def compute(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        return item

    for item, _ in in_order(items(), compute, calls, never):
        waiting.append(taken - item)
    assert most <= calls
    assert max(waiting) <= calls + 1


def test_a_failure_takes_the_place_of_its_result_and_later_calls_do_not_begin() -> None:
    started = []

    def compute(item: int) -> int:
        started.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = in_order(range(1000), compute, 2, never)
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(started) <= 6


def test_closing_it_ends_its_threads() -> None:
    results = in_order(range(1000), lambda item: item, 2, never)
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("selsa-run")]


def test_the_callers_thread_polls_while_it_waits() -> None:
    seen = threading.Event()
    pollers = set()

    def stopped() -> bool:
        pollers.add(threading.current_thread())
        seen.set()
        return True

    assert list(in_order([1], lambda item: seen.wait(60) and item, 2, stopped)) == [(1, 1)]
    assert pollers == {threading.current_thread()}


def test_local_detection_reads_no_settings() -> None:
    modules = ["selsa_server.settings", "pydantic_settings", "asyncio", "fastapi", "sqlalchemy", "structlog"]
    code = f"import selsa_server.pipeline.local, sys; print(*(set({modules!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

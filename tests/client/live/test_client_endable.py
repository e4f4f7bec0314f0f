"""Endless items can be ended at any time."""

import os
import signal
import threading
import time

import pytest

from selsa_client.cli.detect_plan import first_interrupt
from selsa_client.live.source import Endable


def test_items_arrive_in_order():
    assert list(Endable(range(100)).each()) == list(range(100))


def test_an_error_of_the_items_is_raised_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("unplugged")

    seen = []
    with pytest.raises(OSError, match="unplugged"):
        seen.extend(Endable(items()).each())
    assert seen == [1]


def test_ending_does_not_wait_for_a_blocked_source():
    never = threading.Event()

    def items():
        yield 1
        never.wait(300)
        yield 2

    endable = Endable(items())
    threading.Timer(0.1, endable.end).start()
    began = time.monotonic()
    assert list(endable.each()) == [1]
    assert time.monotonic() - began < 60
    never.set()


def test_leaving_early_closes_the_items():
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    each = Endable(items()).each()
    next(each)
    each.close()
    assert closed.wait(60)


def test_the_first_interrupt_ends_and_the_second_leaves():
    ended = threading.Event()
    with pytest.raises(KeyboardInterrupt), first_interrupt(ended.set):
        os.kill(os.getpid(), signal.SIGINT)
        assert ended.wait(60)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

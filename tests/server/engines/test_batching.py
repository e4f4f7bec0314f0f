"""Batching across callers: results as alone, fair, bounded in time, and every caller gets an answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fake_engines import FakeEngines
from hypothesis import given, settings
from hypothesis import strategies as st
from live_server import wait_until

from selsa_bundle.engine import DetectionBatch, FrameBatch, ReferenceBank
from selsa_bundle.errors import EngineError
from selsa_bundle.runtimes.load import load_engines
from selsa_server.engines.batching import BatchingEngines, BatchingOptions, EngineCall
from selsa_server.run_context import RunContext, StoppedError

GATHER = BatchingOptions(max_batch=8, max_wait=0.05)


class GatedEngines(FakeEngines):
    """Engines that stand still until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []

    def run_frames(self, frames, image_size):
        self.entered.set()
        self.gate.wait(300)
        self.batches.append([int(frame[0, 0, 0]) for frame in frames])
        return super().run_frames(frames, image_size)


def frames_of(value: int, count: int = 1, size: tuple[int, int] = (16, 32)):
    return np.full((count, *size, 3), value, np.uint8), np.array([size] * count, np.int64)


def same(one: FrameBatch, other: FrameBatch) -> bool:
    names = ("boxes", "valid", "queries", "memory")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@settings(max_examples=25)
@given(
    calls=st.lists(
        st.lists(
            st.tuples(st.integers(0, 255), st.integers(1, 5), st.sampled_from([(16, 32), (32, 16)])),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=8,
    ),
    max_batch=st.integers(1, 9),
    calls_at_once=st.integers(1, 2),
)
def test_every_caller_gets_the_same_results_as_alone(calls, max_batch: int, calls_at_once: int) -> None:
    alone = FakeEngines()
    options = BatchingOptions(max_batch=max_batch, max_wait=0.001, calls_at_once=calls_at_once)
    shared = BatchingEngines(FakeEngines(), options)

    def call(mine):
        engines = shared.caller(RunContext())
        return [engines.run_frames(*frames_of(*each)) for each in mine]

    with ThreadPoolExecutor(8) as pool:
        for mine, found in zip(calls, pool.map(call, calls), strict=True):
            for each, batch in zip(mine, found, strict=True):
                assert same(batch, alone.run_frames(*frames_of(*each)))
    shared.close()


def gathered(engines: GatedEngines, shared: BatchingEngines, calls, pool: ThreadPoolExecutor):
    """Futures of calls that were queued one after the other while the engine stood still on a first one."""
    pool.submit(shared.caller(RunContext()).run_frames, *frames_of(0))
    assert engines.entered.wait(60)
    futures = []
    for number, each in enumerate(calls, 1):
        futures.append(pool.submit(shared.caller(RunContext()).run_frames, *frames_of(*each)))
        wait_until(lambda number=number: len(shared._queue._pending) == number)
    engines.gate.set()
    return futures


def test_waiting_calls_of_one_size_are_one_engine_call() -> None:
    engines = GatedEngines()
    seen: list[EngineCall] = []
    shared = BatchingEngines(engines, GATHER, seen.append)
    with ThreadPoolExecutor(8) as pool:
        calls = [(1, 2), (2, 1, (32, 16)), (3, 3), (4, 2), (5, 4)]
        for future in gathered(engines, shared, calls, pool):
            future.result(60)
    shared.close()
    assert engines.batches == [[0], [1, 1, 3, 3, 3, 4, 4], [2], [5, 5, 5, 5]]
    assert [(call.callers, call.frames) for call in seen] == [(1, 1), (3, 7), (1, 1), (1, 4)]


def test_a_caller_alone_does_not_wait_for_others() -> None:
    shared = BatchingEngines(FakeEngines(), BatchingOptions(max_wait=60))
    started = time.monotonic()
    shared.caller(RunContext()).run_frames(*frames_of(1))
    shared.close()
    assert time.monotonic() - started < 30


def test_a_long_video_does_not_starve_a_short_one() -> None:
    engines = GatedEngines()
    shared = BatchingEngines(engines, BatchingOptions(max_batch=4, max_wait=0))
    with ThreadPoolExecutor(8) as pool:
        calls = [(1, 4), (1, 4), (2, 1), (1, 4), (1, 4)]
        for future in gathered(engines, shared, calls, pool):
            future.result(60)
    shared.close()
    assert engines.batches == [[0], [1] * 4, [1] * 4, [2], [1] * 4, [1] * 4]


def test_an_engine_error_reaches_every_caller_of_that_call_and_only_them() -> None:
    class FailsOnSevens(GatedEngines):
        def run_frames(self, frames, image_size):
            if (frames == 7).any():
                self.gate.wait(300)
                raise EngineError("seven")
            return super().run_frames(frames, image_size)

    engines = FailsOnSevens()
    shared = BatchingEngines(engines, GATHER)
    with ThreadPoolExecutor(8) as pool:
        calls = [(1, 1), (7, 1), (3, 1, (32, 16))]
        one, seven, three = gathered(engines, shared, calls, pool)
        for future in (one, seven):
            with pytest.raises(EngineError, match="seven"):
                future.result(60)
        assert len(three.result(60)) == 1
    assert len(shared.run_frames(*frames_of(1))) == 1
    shared.close()


def test_a_stopped_caller_leaves_the_queue_without_an_engine_call() -> None:
    engines = GatedEngines()
    shared = BatchingEngines(engines, GATHER)
    stop = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(shared.run_frames, *frames_of(0))
        assert engines.entered.wait(60)
        second = pool.submit(shared.caller(RunContext(stopped=stop.is_set)).run_frames, *frames_of(1))
        stop.set()
        with pytest.raises(StoppedError):
            second.result(60)
        engines.gate.set()
        first.result(60)
    shared.close()
    assert engines.batches == [[0]]


def test_closing_answers_every_waiter_and_later_callers() -> None:
    engines = GatedEngines()
    shared = BatchingEngines(engines, GATHER)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(shared.run_frames, *frames_of(0))
        assert engines.entered.wait(60)
        waiting = [pool.submit(shared.run_frames, *frames_of(n)) for n in (1, 2)]
        wait_until(lambda: len(shared._queue._pending) == 2)
        closing = pool.submit(shared.close)
        for each in waiting:
            with pytest.raises(EngineError, match="closed"):
                each.result(60)
        engines.gate.set()
        assert len(first.result(60)) == 1
        closing.result(60)
    with pytest.raises(EngineError, match="closed"):
        shared.run_frames(*frames_of(1))


def test_waiting_is_counted_for_the_run_that_waits() -> None:
    engines = GatedEngines()
    shared = BatchingEngines(engines, GATHER)
    run = RunContext()
    late = shared.caller(run)
    with ThreadPoolExecutor(8) as pool:
        pool.submit(shared.run_frames, *frames_of(0))
        assert engines.entered.wait(60)
        second = pool.submit(late.run_frames, *frames_of(1))
        time.sleep(0.1)
        engines.gate.set()
        second.result(60)
    shared.close()
    assert run.clock.parts["queue"] >= 0.09
    assert "sequence_engine" not in run.clock.parts


def test_key_frames_of_two_videos_keep_their_own_banks() -> None:
    engines = FakeEngines()
    shared = BatchingEngines(engines, GATHER)
    batch = shared.run_frames(*frames_of(9))
    bank = ReferenceBank(memory=batch.memory[0], valid=batch.valid[0])
    size, scale = np.array([[16, 32]]), np.ones((1, 2), np.float32)
    alone = engines.run_sequence(batch, size, scale, bank)
    found = shared.run_sequence(batch, size, scale, bank)
    shared.close()
    assert isinstance(found, DetectionBatch)
    assert np.array_equal(found.boxes, alone.boxes)


def test_real_engines_give_bit_equal_results_in_merged_calls(r18_bundle: Path) -> None:
    alone = load_engines(r18_bundle).engines
    merged: list[EngineCall] = []
    shared = BatchingEngines(alone, GATHER, merged.append)
    rng = np.random.default_rng(4)
    videos = [rng.integers(0, 255, (2, 96, 160, 3), np.uint8) for _ in range(3)]
    sizes = np.array([[90, 160]] * 2, np.int64)
    with ThreadPoolExecutor(3) as pool:
        for _ in range(2):
            calls = [pool.submit(shared.run_frames, pixels, sizes) for pixels in videos]
            for pixels, call in zip(videos, calls, strict=True):
                assert same(call.result(60), alone.run_frames(pixels, sizes))
    shared.close()
    assert max(call.callers for call in merged) > 1

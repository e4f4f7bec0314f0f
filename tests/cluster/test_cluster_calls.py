"""What travels between a server and its replicas, without a cluster."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_engines import FakeEngines
from fakes import fake_bundle

from selsa_bundle.engine import EngineInfo, FrameBatch
from selsa_server.cluster.cluster import merging_options
from selsa_server.cluster.engines import MergedFrames
from selsa_server.cluster.replica import EngineReplica, halved, whole
from selsa_server.engines.batching import BatchingOptions
from selsa_server.settings import ServerSettings

SIZE = np.array([[16, 16]])


def frames(colour: int) -> np.ndarray:
    return np.full((1, 16, 16, 3), colour, np.uint8)


class BfloatEngines(FakeEngines):
    @property
    def info(self) -> EngineInfo:
        return EngineInfo(provider="fake", precision="bf16")


def travelled(engines: FakeEngines, node: str | None) -> FrameBatch:
    replica = EngineReplica(lambda: fake_bundle(engines), BatchingOptions())
    return asyncio.run(replica.run_frames(frames(77), SIZE, node))


@pytest.mark.parametrize(
    ("engines", "node", "dtype"),
    [
        (BfloatEngines(), "another", np.float16),
        (BfloatEngines(), None, np.float32),
        (FakeEngines(), "another", np.float32),
    ],
)
def test_memories_travel_as_float16_to_another_node_if_the_precision_allows_it(
    engines: FakeEngines, node: str | None, dtype: type
) -> None:
    found = travelled(engines, node)
    assert found.memory.dtype == dtype
    assert found.queries.dtype == np.float32
    assert whole(found).memory.dtype == np.float32
    assert (whole(found).memory == FakeEngines().run_frames(frames(77), SIZE).memory).all()


def test_a_memory_beyond_float16_travels_as_it_is() -> None:
    engines = FakeEngines()
    batch = engines.run_frames(frames(1), SIZE)
    batch.memory[0, 0, 0, 0, 0] = 1e6
    assert halved(batch, engines.dimensions).memory is batch.memory


def test_frames_that_arrive_during_a_call_leave_together_and_each_gets_its_own_answer() -> None:
    first, go = threading.Event(), threading.Event()

    class Slow(FakeEngines):
        def run_frames(self, frames: np.ndarray, image_size: np.ndarray) -> FrameBatch:
            first.set()
            assert go.wait(60)
            return super().run_frames(frames, image_size)

    engines = Slow()
    merged = MergedFrames(engines, BatchingOptions(max_batch=8, max_wait=0.0, calls_at_once=1))
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(merged.run_frames, frames(0), SIZE)]
        assert first.wait(60)
        results += [pool.submit(merged.run_frames, frames(colour), SIZE) for colour in (1, 2, 3)]
        while len(merged._merged._queue._pending) < 3:
            threading.Event().wait(0.01)
        go.set()
        assert [result.result().queries[0, 0, 0] for result in results] == [0, 1, 2, 3]
    assert engines.frame_calls == 2
    merged.close()
    assert engines.closed == 1


def test_the_calls_on_their_way_follow_the_replicas_and_shared_replicas_get_each_call_at_once() -> None:
    settings = ServerSettings(replicas=2, max_replicas=4, engine_calls=2)
    options = merging_options(settings)
    assert options is not None
    assert options.calls_at_once == 12
    assert merging_options(settings.model_copy(update={"application": "shared"})) is None

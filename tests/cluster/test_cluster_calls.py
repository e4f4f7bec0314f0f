"""What travels between a server and its replicas, without a cluster."""

import asyncio

import numpy as np
import pytest
from fake_engines import FakeEngines
from fakes import fake_bundle

from selsa_bundle.engine import EngineInfo, FrameBatch
from selsa_server.cluster.cluster import replica_engines, serving_settings
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


@pytest.mark.parametrize(
    ("cores", "calls", "asked", "threads"), [(8, 2, 0, 4), (1, 2, 0, 1), (0.5, 1, 0, 1), (8, 2, 3, 3)]
)
def test_the_calls_of_a_replica_share_its_cores(cores: float, calls: int, asked: int, threads: int) -> None:
    settings = ServerSettings(replica_cpus=cores, engine_calls=calls, threads=asked)
    engines = replica_engines(None, None, settings)
    assert (engines.calls, engines.threads) == (calls, threads)


@pytest.mark.parametrize(
    ("given", "frame_bytes", "batch"),
    [
        ({}, 416 * 416 * 3, 16),
        ({}, 16 * 16 * 3, 16),
        ({"max_batch": 4}, 416 * 416 * 3, 8),
        ({}, 1024 * 608 * 3, 4),
        ({}, 4096 * 4096 * 3, 4),
        ({"batch": 2}, 416 * 416 * 3, 2),
    ],
)
def test_small_frames_of_a_video_travel_together_unless_the_settings_say_how_many(
    given: dict[str, int], frame_bytes: int, batch: int
) -> None:
    assert serving_settings(ServerSettings(**given), frame_bytes).batch == batch

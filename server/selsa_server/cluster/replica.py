"""A frame engine on the cluster: the replica of the Ray Serve deployment, and how it loads its engines.

It merges calls of all videos and servers, as one server does with its own.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from selsa_bundle.contract import Dimensions
from selsa_bundle.default_bundle import bundle_folder, default_bundle
from selsa_bundle.engine import DetectionBatch, EngineInfo, Engines, Float, FrameBatch, Int, ReferenceBank
from selsa_bundle.errors import BundleError
from selsa_bundle.providers import PrecisionName, ProviderName
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.load import LoadedBundle, load_engines
from selsa_server.engines.batching import BatchingEngines, BatchingOptions
from selsa_server.engines.readiness import run_one_frame

T = TypeVar("T")
HALF: Final = np.dtype(np.float16)

# Calls that one replica holds: those that run, and those that it can merge next.
CALLS_IN_HAND: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaInfo:
    """What a replica runs."""

    digest: str
    dimensions: Dimensions
    info: EngineInfo
    why: str


class EngineReplica:
    """Both engines of a bundle behind calls that travel; the replica owns the threads they run in.

    Args:
        load: gives the bundle with its engines; called where the replica is.
    """

    def __init__(self, load: Callable[[], LoadedBundle], options: BatchingOptions) -> None:
        bundle = load()
        run_one_frame(bundle)
        engines: Engines = bundle.engines
        self._engines = BatchingEngines(engines, options)
        self._threads = ThreadPoolExecutor(CALLS_IN_HAND, thread_name_prefix="selsa-call")
        self._info = ReplicaInfo(
            digest=bundle.digest, dimensions=engines.dimensions, info=engines.info, why=bundle.why
        )
        self._node = node_id()

    async def describe(self) -> ReplicaInfo:
        """What runs here."""
        return self._info

    async def run_frames(
        self, frames: npt.NDArray[np.uint8], image_size: Int, node: str | None = None
    ) -> FrameBatch:
        """The frame engine; see `Engines`.

        Args:
            node: of the caller. Outside fp32 the memories travel to another node as float16: half the bytes,
                and rounded less than the engines round them. On one node they lie in shared memory.
        """
        found = await self._call(self._engines.run_frames, frames, image_size)
        if node in (None, self._node) or self._info.info.precision == "fp32":
            return found
        return await self._call(halved, found, self._info.dimensions)

    async def run_sequence(
        self,
        batch: FrameBatch,
        image_size: Int,
        scale_factor: Float,
        bank: ReferenceBank,
    ) -> DetectionBatch:
        """The sequence engine on a bank without `state`; see `Engines`."""
        return await self._call(self._engines.run_sequence, whole(batch), image_size, scale_factor, bank)

    async def _call(self, call: Callable[..., T], *inputs: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *inputs)


def node_id() -> str | None:
    """The node of Ray on which this process runs; None outside Ray."""
    import ray

    found: str | None = ray.get_runtime_context().get_node_id() if ray.is_initialized() else None
    return found


def halved(batch: FrameBatch, dims: Dimensions) -> FrameBatch:
    """The features that banks keep as float16; those with a value beyond float16 as they are."""
    return batch.replaced(**{f.name: _half(batch.tensors[f.name]) for f in dims.tensors.bank_features})


def _half(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        half = array.astype(HALF)
    return half if np.isfinite(half).all() else array


def whole(batch: FrameBatch) -> FrameBatch:
    """The features as the sequence engine takes them: float32."""
    halves = {name: array for name, array in batch.tensors.items() if array.dtype == HALF}
    return batch.replaced(**{name: array.astype(np.float32) for name, array in halves.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaEngines:
    """How a replica gets its engines: from a folder that is the same on every node.

    Attributes:
        folder: of the bundle; or the name of a packaged one; None: the packaged default.
        digest: of the expected bundle; None: the caller checks it.
        provider: what the engines run on.
        precision: what they compute in.
        calls: of an engine that run at the same time.
        threads: of one call; 0: the node's cores, shared out among the calls.
        max_batch: frames in a call at most.
        allow_cpu: run on the CPU if that provider is not available.
        engine_cache: folder of engines that TensorRT compiled, on the node.
        size: long side of frames in pixels; 0: the bundle's.
    """

    folder: str | None
    digest: str | None
    provider: ProviderName
    precision: PrecisionName
    calls: int
    threads: int
    max_batch: int
    allow_cpu: bool
    engine_cache: str | None
    size: int = 0

    def __call__(self) -> LoadedBundle:
        """Load the engines.

        Raises:
            BundleError: the bundle on this node is missing, another one, or does not run as asked for.
        """
        options = EngineOptions(
            provider=self.provider,
            precision=self.precision,
            calls=self.calls,
            threads=self.threads,
            allow_cpu=self.allow_cpu,
            max_batch=self.max_batch,
            engine_cache=None if self.engine_cache is None else Path(self.engine_cache),
            size=self.size,
        )
        folder = default_bundle() if self.folder is None else bundle_folder(Path(self.folder))
        bundle = load_engines(folder, options)
        if self.digest is not None and bundle.digest != self.digest:
            bundle.engines.close()
            raise BundleError(f"the bundle {folder} on this node is {bundle.digest}, not {self.digest}")
        return bundle


LoadEngines = Callable[[], LoadedBundle]

"""Engines in TensorRT.

Calls run on *workers*. Each worker has a stream, a lane for each of the two engines and its own memory, so
that one can copy while another computes. A call that is larger than every profile, or than the free memory,
is split into pieces; this does not change results.
"""

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from selsa_bundle.contract import BANK_VALID, Dimensions, EngineName, contract_for
from selsa_bundle.engine import Array, EngineInfo, ReferenceBank
from selsa_bundle.errors import DeviceMemoryError, EngineError
from selsa_bundle.runtime_base import CLOSED, RuntimeEngines
from selsa_bundle.tensorrt.cuda_device import Device
from selsa_bundle.tensorrt.device_banks import DeviceBanks
from selsa_bundle.tensorrt.lane import CompiledEngine, Lane, Resident
from selsa_bundle.tensorrt.library import TensorRT
from selsa_bundle.tensorrt.log import build_log
from selsa_bundle.tensorrt.profiles import Profile, choose_profile
from selsa_bundle.tolerance import Precision

PROVIDERS = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A serialised engine and the profiles it was built with."""

    serialised: bytes
    profiles: Sequence[Profile]


@dataclass(frozen=True, slots=True)
class _Worker:
    stream: int
    frame: Lane
    sequence: Lane


class TensorRtEngines(RuntimeEngines):
    """A bundle's two engines on a GPU.

    Args:
        library: an imported TensorRT, of exactly the version that built the plans.
        precision: what is written into the graphs.
        workers: calls that may run at once; two are enough to copy while computing.
        say: gets one message for each batch size that does not fit into the memory.

    Raises:
        EngineError: an engine cannot be loaded.
    """

    def __init__(
        self,
        library: TensorRT,
        plans: Mapping[EngineName, Plan],
        dimensions: Dimensions,
        device: Device,
        *,
        precision: Precision,
        workers: int = 2,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        provider = f"{PROVIDERS[library.name]} {library.version}"
        super().__init__(dimensions, EngineInfo(provider=provider, precision=precision))
        self._library, self._device, self._say = library, device, say
        self._log = build_log(library.module)
        self._runtime: Any = library.module.Runtime(self._log)
        self._engines = {name: self._load(name, plan) for name, plan in plans.items()}
        self._too_large: dict[EngineName, set[int]] = {"frame": set(), "sequence": set()}
        self._banks = DeviceBanks(device, dimensions)
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._count = workers
        for _ in range(workers):
            self._idle.put(self._worker())

    def call(
        self, engine: EngineName, feeds: Mapping[str, Array], bank: ReferenceBank | None
    ) -> dict[str, Array]:
        """One call, in pieces where profiles or memory demand it.

        Raises:
            DeviceMemoryError: there is no memory for a single frame of that size, or with that bank.
        """
        with self._borrowed() as worker:
            if bank is None:
                height, width = feeds["frames"].shape[1:3]
                return self._in_pieces(worker.frame, engine, feeds, {}, {"H": height, "W": width})
            with self._banks.borrow(bank, worker.stream) as resident:
                sizes = {"R": len(bank.valid)}
                return self._in_pieces(worker.sequence, engine, feeds, resident, sizes)

    def close(self) -> None:
        """Free the engines and all memory on the device."""
        if self._runtime is None:
            return
        self._device.use()
        for _ in range(self._count):
            worker = self._idle.get()
            if worker is not None:
                worker.frame.close()
                worker.sequence.close()
                self._device.close_stream(worker.stream)
        # A later call fails at once instead of waiting for ever.
        self._idle.put(None)
        self._banks.close()
        self._engines.clear()
        self._runtime = None

    def _load(self, name: EngineName, plan: Plan) -> CompiledEngine:
        engine = self._runtime.deserialize_cuda_engine(plan.serialised)
        if engine is None:
            reason = self._log.summary()
            # This copies the weights to the device; TensorRT reports the kind of error only as text.
            kind = DeviceMemoryError if "out of memory" in reason.lower() else EngineError
            raise kind(f"TensorRT cannot load the {name} engine: {reason}")
        if engine.num_optimization_profiles != len(plan.profiles):
            raise EngineError(
                f"The {name} engine has {engine.num_optimization_profiles} profiles; "
                f"it was built with {len(plan.profiles)}."
            )
        return CompiledEngine(name=name, engine=engine, profiles=plan.profiles, dimensions=self._dimensions)

    def _worker(self) -> _Worker:
        stream = self._device.open_stream()
        frame = Lane(self._library, self._engines["frame"], self._device, stream)
        bank = [*(f.bank or "" for f in self._dimensions.tensors.bank_features), BANK_VALID]
        sequence = Lane(self._library, self._engines["sequence"], self._device, stream, resident=bank)
        return _Worker(stream, frame, sequence)

    @contextmanager
    def _borrowed(self) -> Iterator[_Worker]:
        worker = self._idle.get()
        if worker is None:
            self._idle.put(None)
            raise EngineError(CLOSED)
        try:
            self._device.use()
            yield worker
        finally:
            self._idle.put(worker)

    def _in_pieces(
        self,
        lane: Lane,
        engine: EngineName,
        feeds: Mapping[str, Array],
        shared: Mapping[str, Resident],
        sizes: Mapping[str, int],
    ) -> dict[str, Array]:
        """All of a batch, in as few calls as profiles and memory allow; the outputs joined."""
        total = len(next(iter(feeds.values())))
        parts: list[list[Array]] = []
        done = 0
        while done < total:
            count, profile = self._next(engine, total - done, sizes)
            piece = {name: array[done : done + count] for name, array in feeds.items()}
            try:
                parts.append(lane.run(profile, {**piece, **shared}, {**sizes, "B": count}))
            except DeviceMemoryError as error:
                self._give_up(engine, profile, error)
                continue
            done += count
        joined = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        outputs = contract_for(engine, self._dimensions).outputs
        return {spec.name: array for spec, array in zip(outputs, joined, strict=True)}

    def _next(self, engine: EngineName, left: int, sizes: Mapping[str, int]) -> tuple[int, int]:
        """How many of the `left` frames the next call takes, and the index of its profile."""
        profiles, too_large = self._engines[engine].profiles, self._too_large[engine]
        usable = [profile for index, profile in enumerate(profiles) if index not in too_large]
        for count in range(left, 0, -1):
            index = choose_profile(usable, {**sizes, "B": count})
            if index is not None:
                return count, profiles.index(usable[index])
        asked = ", ".join(f"{letter}={size}" for letter, size in sizes.items())
        if choose_profile(profiles, {**sizes, "B": 1}) is not None:
            raise DeviceMemoryError(
                f"The GPU has no memory for a single frame in the {engine} engine ({asked})."
            )
        allowed = "; ".join(f"{p.name}: {_ranges(p)}" for p in profiles)
        raise EngineError(f"No profile of the {engine} engine takes {asked}; it has {allowed}.")

    def _give_up(self, engine: EngineName, profile: int, error: DeviceMemoryError) -> None:
        too_large = self._too_large[engine]
        if profile not in too_large:
            too_large.add(profile)
            found = self._engines[engine].profiles[profile]
            self._say(f"{error} The {engine} engine runs without batches of {found.batch} ({found.name}).")


def _ranges(profile: Profile) -> str:
    return ", ".join(f"{letter} {r.low} to {r.high}" for letter, r in profile.sizes.items())

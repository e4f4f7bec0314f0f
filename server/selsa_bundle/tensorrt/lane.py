"""A lane: one compiled engine on one CUDA stream, with its execution contexts and memory. One call at a time.

Memory is allocated once per profile, at its first call, for the largest shape of the profile. All profiles of
a lane share one piece of scratch memory, since they never run at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selsa_bundle.contract import Dimensions, EngineName, TensorSpec, contract_for
from selsa_bundle.engine import Array
from selsa_bundle.errors import EngineError
from selsa_bundle.tensorrt.cuda_device import Bytes, Device
from selsa_bundle.tensorrt.library import TensorRT
from selsa_bundle.tensorrt.profiles import Profile, tensor_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledEngine:
    """An engine that TensorRT has loaded; several lanes share it.

    Attributes:
        engine: TensorRT's `ICudaEngine`.
        profiles: its profiles, in the order it was built with.
    """

    name: EngineName
    engine: Any
    profiles: Sequence[Profile]
    dimensions: Dimensions


@dataclass(frozen=True, slots=True)
class Resident:
    """An input that is on the device already: its address and shape."""

    address: int
    shape: tuple[int, ...]


@dataclass(slots=True)
class _Slot:
    """TensorRT's context of one profile, and its tensors' memory on the device and the host."""

    context: Any
    device: dict[str, int]
    host: dict[str, Bytes]


class Lane:
    """Runs one engine on one stream. Not thread-safe.

    Args:
        resident: inputs that are already on the device at each call; no memory is allocated for them.
    """

    def __init__(
        self,
        library: TensorRT,
        compiled: CompiledEngine,
        device: Device,
        stream: int,
        resident: Sequence[str] = (),
    ) -> None:
        self._library = library
        self._compiled = compiled
        self._device = device
        self._stream = stream
        self._resident = frozenset(resident)
        self._slots: dict[int, _Slot] = {}
        self._scratch = (0, 0)
        contract = contract_for(compiled.name, compiled.dimensions)
        self._inputs, self._outputs = contract.inputs, contract.outputs

    def run(
        self, profile: int, feeds: Mapping[str, Array | Resident], sizes: Mapping[str, int]
    ) -> list[Array]:
        """Run once: copy in, compute, copy out, wait.

        Args:
            profile: index of the profile; it fits `sizes`.
            feeds: every input, as an array, or as a `Resident`.
            sizes: the dynamic dimensions of this call.

        Returns:
            Copies of the outputs, in the contract's order.

        Raises:
            DeviceMemoryError: there is no memory for the profile.
            EngineError: the call failed.
        """
        slot = self._slots.get(profile) or self._open(profile)
        context = slot.context
        context.set_device_memory(*self._scratch)
        try:
            for spec in self._inputs:
                self._feed(slot, spec, feeds[spec.name])
            if missing := context.infer_shapes():
                raise EngineError(f"TensorRT was not given {', '.join(missing)}.")
            if not context.execute_async_v3(self._stream):
                raise EngineError(f"TensorRT failed on {_described(feeds)}.")
            for spec in self._outputs:
                self._device.download(
                    slot.host[spec.name][: _bytes_of(spec, sizes)], slot.device[spec.name], self._stream
                )
        finally:
            # Also after an error: a copy may still read from the pinned memory.
            self._device.wait(self._stream)
        return [_viewed(slot.host[spec.name], spec, sizes).copy() for spec in self._outputs]

    def close(self) -> None:
        """Free all memory; contexts first, since they point to it."""
        for slot in self._slots.values():
            slot.context = None
            self._release(slot.device.values(), slot.host.values())
        self._slots.clear()
        if self._scratch[0]:
            self._device.free(self._scratch[0])
            self._scratch = (0, 0)

    def _feed(self, slot: _Slot, spec: TensorSpec, value: Array | Resident) -> None:
        context = slot.context
        if isinstance(value, Resident):
            address, shape = value.address, value.shape
            if not context.set_tensor_address(spec.name, address):
                raise EngineError(f"TensorRT does not take the address of {spec.name}.")
        else:
            address, shape = slot.device[spec.name], value.shape
            given = np.ascontiguousarray(value, dtype=spec.dtype).reshape(-1).view(np.uint8)
            pinned = slot.host[spec.name][: given.nbytes]
            np.copyto(pinned, given)
            self._device.upload(address, pinned, self._stream)
        if not context.set_input_shape(spec.name, tuple(shape)):
            raise EngineError(f"TensorRT does not take {spec.name} of shape {list(shape)}.")

    def _open(self, index: int) -> _Slot:
        """Allocate everything for a profile, or nothing if memory runs out."""
        profile, engine = self._compiled.profiles[index], self._compiled.engine
        sizes = tensor_bytes(self._compiled.name, self._compiled.dimensions, profile)
        device: dict[str, int] = {}
        host: dict[str, Bytes] = {}
        try:
            for name, size in sizes.items():
                if name not in self._resident:
                    device[name] = self._device.allocate(size)
                    host[name] = self._device.allocate_pinned(size)
            self._grow_scratch(int(engine.get_device_memory_size_for_profile_v2(index)))
            context = self._context(index)
            for name, address in device.items():
                if not context.set_tensor_address(name, address):
                    raise EngineError(f"TensorRT does not take the address of {name}.")
        except EngineError:
            self._release(device.values(), host.values())
            raise
        self._slots[index] = slot = _Slot(context, device, host)
        return slot

    def _grow_scratch(self, size: int) -> None:
        address, have = self._scratch
        if size <= have:
            return
        # Allocate first: if that fails, open profiles keep the old piece.
        new = self._device.allocate(size)
        if address:
            self._device.free(address)
        self._scratch = (new, size)

    def _context(self, index: int) -> Any:
        trt = self._library.module
        engine = self._compiled.engine
        managed = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self._library.name == "tensorrt_rtx":
            settings = engine.create_runtime_config()
            settings.set_execution_context_allocation_strategy(managed)
            context = engine.create_execution_context(settings)
        else:
            context = engine.create_execution_context(managed)
        if context is None:
            raise EngineError(f"TensorRT cannot open the {self._compiled.name} engine.")
        if not context.set_optimization_profile_async(index, self._stream):
            raise EngineError(f"The {self._compiled.name} engine has no profile {index}.")
        self._device.wait(self._stream)
        return context

    def _release(self, addresses: Iterable[int], pinned: Iterable[Bytes]) -> None:
        for address in addresses:
            self._device.free(address)
        for memory in pinned:
            self._device.free_pinned(memory)


def _shape(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape)


def _bytes_of(spec: TensorSpec, sizes: Mapping[str, int]) -> int:
    return int(np.prod(_shape(spec, sizes), dtype=np.int64)) * np.dtype(spec.dtype).itemsize


def _viewed(memory: Bytes, spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
    shape = _shape(spec, sizes)
    flat: Array = memory[: _bytes_of(spec, sizes)].view(np.dtype(spec.dtype))
    return flat.reshape(shape)


def _described(feeds: Mapping[str, Array | Resident]) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in feeds.items())

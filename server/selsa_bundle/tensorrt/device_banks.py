"""Reference banks that stay on the device as long as they do not change.

In `sequence` mode a bank is filled once and read by every key frame; without this it would cross the bus for
each of them, 69 MB for fourteen reference frames of R-50.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from selsa_bundle.engine import ReferenceBank
from selsa_bundle.errors import DeviceMemoryError
from selsa_bundle.tensorrt.cuda_device import Device
from selsa_bundle.tensorrt.lane import Resident


@dataclass(slots=True, eq=False)
class _Kept:
    memory: Resident
    valid: Resident
    size: int
    users: int = 0


class DeviceBanks:
    """Banks on a device, the least recently used leaving first. For several threads at once.

    Args:
        device: where they are.
        limit: most bytes that are kept while nobody uses them.
    """

    def __init__(self, device: Device, limit: int = 2 << 30) -> None:
        self._device = device
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, _Kept] = OrderedDict()

    @contextmanager
    def borrow(self, bank: ReferenceBank, stream: int) -> Iterator[tuple[Resident, Resident]]:
        """Memory and valid of a bank on the device, there until the block ends at least.

        A bank is known by its state: as long as that is the same object, its contents are the same. One
        without a state is copied anew every time.

        Raises:
            DeviceMemoryError: there is no room, not even after every unused bank has left.
        """
        state = None if bank.state is None else bank.state()
        with self._lock:
            # Copied while others wait: two key frames of one video want the same bank.
            kept = self._find(state) or self._put(state if state is not None else object(), bank, stream)
            kept.users += 1
        try:
            yield kept.memory, kept.valid
        finally:
            with self._lock:
                kept.users -= 1
                if state is None:
                    self._drop_where(lambda each: each is kept)
                self._shrink(self._limit)

    def close(self) -> None:
        """Give all memory back; nobody may be using it."""
        with self._lock:
            self._drop_where(lambda _: True)

    def _find(self, state: object | None) -> _Kept | None:
        kept = None if state is None else self._kept.get(state)
        if kept is not None:
            self._kept.move_to_end(state)
        return kept

    def _put(self, state: object, bank: ReferenceBank, stream: int) -> _Kept:
        arrays = (np.ascontiguousarray(bank.memory), np.ascontiguousarray(bank.valid))
        addresses: list[int] = []
        try:
            for array in arrays:
                addresses.append(self._allocate(array.nbytes))
                self._device.upload(addresses[-1], array.reshape(-1).view(np.uint8), stream)
            self._device.wait(stream)
        except BaseException:
            for address in addresses:
                self._device.free(address)
            raise
        memory, valid = (Resident(a, x.shape) for a, x in zip(addresses, arrays, strict=True))
        self._kept[state] = kept = _Kept(memory, valid, sum(array.nbytes for array in arrays))
        return kept

    def _allocate(self, size: int) -> int:
        while True:
            try:
                return self._device.allocate(size)
            except DeviceMemoryError:
                if not self._drop_oldest():
                    raise

    def _shrink(self, limit: int) -> None:
        while sum(kept.size for kept in self._kept.values()) > limit and self._drop_oldest():
            pass

    def _drop_oldest(self) -> bool:
        oldest = next((kept for kept in self._kept.values() if not kept.users), None)
        if oldest is not None:
            self._drop_where(lambda each: each is oldest)
        return oldest is not None

    def _drop_where(self, gone: Callable[[_Kept], bool]) -> None:
        for state in [state for state, kept in self._kept.items() if gone(kept)]:
            kept = self._kept.pop(state)
            self._device.free(kept.memory.address)
            self._device.free(kept.valid.address)

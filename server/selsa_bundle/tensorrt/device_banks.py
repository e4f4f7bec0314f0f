"""Reference banks that stay on the device as long as they do not change.

In `sequence` mode a bank is filled once and read by every key frame. Otherwise it would cross the bus for
each of them: 69 MB for fourteen reference frames of R-50.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import ReferenceBank, bank_feeds
from selsa_bundle.errors import DeviceMemoryError
from selsa_bundle.tensorrt.cuda_device import Device
from selsa_bundle.tensorrt.lane import Resident

MOST_BYTES: Final = 2 << 30


@dataclass(slots=True, eq=False)
class _Kept:
    tensors: dict[str, Resident]
    size: int
    users: int = 0


class DeviceBanks:
    """Banks on a device; the least recently used is dropped first. Thread-safe.

    Banks that no call uses are kept up to `MOST_BYTES`.
    """

    def __init__(self, device: Device, dimensions: Dimensions) -> None:
        self._device, self._dimensions = device, dimensions
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, _Kept] = OrderedDict()

    @contextmanager
    def borrow(self, bank: ReferenceBank, stream: int) -> Iterator[dict[str, Resident]]:
        """The inputs that belong to a bank, on the device at least until the block ends.

        A bank is identified by its state: while that is the same object, its contents are the same. A bank
        without a state is copied every time.

        Raises:
            DeviceMemoryError: there is no room, even after every unused bank was dropped.
        """
        state = None if bank.state is None else bank.state()
        with self._lock:
            # Copy under the lock: two key frames of one video may need the same bank at once.
            kept = self._find(state) or self._put(state if state is not None else object(), bank, stream)
            kept.users += 1
        try:
            yield kept.tensors
        finally:
            with self._lock:
                kept.users -= 1
                if state is None:
                    self._drop_where(lambda each: each is kept)
                while sum(kept.size for kept in self._kept.values()) > MOST_BYTES and self._drop_oldest():
                    pass

    def close(self) -> None:
        """Free all memory. No call may be using it."""
        with self._lock:
            self._drop_where(lambda _: True)

    def _find(self, state: object | None) -> _Kept | None:
        kept = None if state is None else self._kept.get(state)
        if kept is not None:
            self._kept.move_to_end(state)
        return kept

    def _put(self, state: object, bank: ReferenceBank, stream: int) -> _Kept:
        feeds = bank_feeds(self._dimensions, bank)
        arrays = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        kept = _Kept({}, sum(array.nbytes for array in arrays.values()))
        try:
            for name, array in arrays.items():
                address = self._allocate(array.nbytes)
                kept.tensors[name] = Resident(address, array.shape)
                self._device.upload(address, array.reshape(-1).view(np.uint8), stream)
            self._device.wait(stream)
        except BaseException:
            self._free(kept)
            raise
        self._kept[state] = kept
        return kept

    def _allocate(self, size: int) -> int:
        while True:
            try:
                return self._device.allocate(size)
            except DeviceMemoryError:
                if not self._drop_oldest():
                    raise

    def _drop_oldest(self) -> bool:
        oldest = next((kept for kept in self._kept.values() if not kept.users), None)
        if oldest is not None:
            self._drop_where(lambda each: each is oldest)
        return oldest is not None

    def _drop_where(self, gone: Callable[[_Kept], bool]) -> None:
        for state in [state for state, kept in self._kept.items() if gone(kept)]:
            self._free(self._kept.pop(state))

    def _free(self, kept: _Kept) -> None:
        for tensor in kept.tensors.values():
            self._device.free(tensor.address)

"""Calls of ONNX Runtime on a device: bound inputs, and reference banks that stay there until they change.

In `sequence` mode a bank is filled once and read by every key frame. Passed as an array it would cross the
bus each time: 69 MB for fourteen reference frames of R-50.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy.typing as npt
import onnxruntime as ort

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import ReferenceBank, bank_feeds
from selsa_bundle.errors import EngineError
from selsa_bundle.runtime_base import lines_of

# Banks of this many videos at once; the least recently used one is dropped.
MOST_BANKS: Final = 16

BankValues = dict[str, Any]


class ResidentBanks:
    """Copies of banks on a device; the least recently used is dropped first. Thread-safe.

    Args:
        device: ONNX Runtime's name of it: `cuda`, or `cpu`, where a bank only is not bound again.
    """

    def __init__(self, device: str, dimensions: Dimensions) -> None:
        self._device, self._dimensions = device, dimensions
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, BankValues] = OrderedDict()

    def values(self, bank: ReferenceBank) -> BankValues:
        """The inputs that belong to the bank. A bank without `state` is copied for each call.

        Raises:
            EngineError: the device is missing or out of memory.
        """
        state = None if bank.state is None else bank.state()
        if state is None:
            return self._copy(bank)
        with self._lock:
            # Copied under the lock: two key frames of one video want the same bank.
            found = self._kept.pop(state, None) or self._copy(bank)
            self._kept[state] = found
            while len(self._kept) > MOST_BANKS:
                self._kept.popitem(last=False)
        return found

    def clear(self) -> None:
        """Drop all of them."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        """The number of banks that are kept."""
        return len(self._kept)

    def _copy(self, bank: ReferenceBank) -> BankValues:
        # `ortvalue_from_numpy` does not copy on the CPU, and the bank's arrays change.
        feeds = {name: array.copy() for name, array in bank_feeds(self._dimensions, bank).items()}
        try:
            return {
                name: ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)
                for name, array in feeds.items()
            }
        except Exception as error:
            raise EngineError(
                f"ONNX Runtime cannot put a bank of {bank.nbytes} bytes on {self._device}: "
                f"{lines_of(error)[0]}"
            ) from error


def run_bound(
    session: ort.InferenceSession,
    feeds: Mapping[str, npt.NDArray[Any]],
    resident: Mapping[str, Any],
    options: ort.RunOptions | None,
) -> Sequence[Any]:
    """One call: arrays are copied to the device, resident values are not, outputs are copied back."""
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, array)
    for name, value in resident.items():
        binding.bind_ortvalue_input(name, value)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    session.run_with_iobinding(binding, options)
    outputs: Sequence[Any] = binding.copy_outputs_to_cpu()
    return outputs

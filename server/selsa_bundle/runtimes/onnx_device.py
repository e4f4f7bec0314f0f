"""Calls of ONNX Runtime on a device: inputs bound, and reference banks that stay there until they change.

In `sequence` mode a bank is filled once and read by every key frame. Handed over as an array it would cross
the bus each time: 69 MB for fourteen reference frames of R-50.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy.typing as npt
import onnxruntime as ort

from selsa_bundle.engine import ReferenceBank
from selsa_bundle.errors import EngineError

# Banks of as many videos at once; a bank that comes back after more of them is copied again.
MOST_BANKS: Final = 16

BankValues = dict[str, Any]


class ResidentBanks:
    """Copies of banks on a device, the least recently used leaving first. For several threads at once.

    Args:
        device: ONNX Runtime's name of it: `cuda`, or `cpu`, where a bank merely is not bound anew.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, BankValues] = OrderedDict()

    def values(self, bank: ReferenceBank) -> BankValues:
        """The inputs `bank` and `bank_valid`. A bank whose state is not told is copied for each call.

        Raises:
            EngineError: the device is not there, or has no room.
        """
        state = None if bank.state is None else bank.state()
        if state is None:
            return self._copy(bank)
        with self._lock:
            # Copied while others wait: two key frames of one video want the same bank.
            found = self._kept.pop(state, None) or self._copy(bank)
            self._kept[state] = found
            while len(self._kept) > MOST_BANKS:
                self._kept.popitem(last=False)
        return found

    def clear(self) -> None:
        """Let go of all of them."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        """Banks that are kept."""
        return len(self._kept)

    def _copy(self, bank: ReferenceBank) -> BankValues:
        # `ortvalue_from_numpy` does not copy what stays on the CPU, and the bank's arrays change.
        memory, valid = bank.memory.copy(), bank.valid.copy()
        try:
            return {
                "bank": ort.OrtValue.ortvalue_from_numpy(memory, self._device, 0),
                "bank_valid": ort.OrtValue.ortvalue_from_numpy(valid, self._device, 0),
            }
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise EngineError(
                f"ONNX Runtime cannot put a bank of {memory.nbytes} bytes on {self._device}: {reason}"
            ) from error


def run_bound(
    session: ort.InferenceSession,
    feeds: Mapping[str, npt.NDArray[Any]],
    resident: Mapping[str, Any],
    options: ort.RunOptions | None,
) -> Sequence[Any]:
    """One call: arrays are copied to the device, values that lie there are not, outputs come back."""
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

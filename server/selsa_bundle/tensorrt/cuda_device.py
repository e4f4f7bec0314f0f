"""One NVIDIA GPU through cuda-python: streams, memory, copies. No torch.

`CudaDevice` is the real device. The runtime needs only the protocol `Device`, so that tests can run its
bookkeeping without a GPU.
"""

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from selsa_bundle.errors import DeviceMemoryError, EngineError
from selsa_bundle.tensorrt.library import ComputeCapability

Bytes = npt.NDArray[np.uint8]
ALLOCATIONS: Final = ("cudaMalloc", "cudaHostAlloc")
INSTALL: Final = "pip install 'selsa[server-gpu]'"


class Device(Protocol):
    """Memory and streams of a GPU. Addresses and streams are integers, as in TensorRT."""

    def use(self) -> None:
        """Make it the calling thread's device."""
        ...

    def open_stream(self) -> int:
        """A new stream."""
        ...

    def close_stream(self, stream: int) -> None:
        """Destroy a stream."""
        ...

    def allocate(self, size: int) -> int:
        """Address of `size` bytes on the device.

        Raises:
            DeviceMemoryError: it has no more.
        """
        ...

    def free(self, address: int) -> None:
        """Free memory."""
        ...

    def allocate_pinned(self, size: int) -> Bytes:
        """uint8 [size], page-locked memory of the host for asynchronous copies."""
        ...

    def free_pinned(self, memory: Bytes) -> None:
        """Free page-locked memory; nothing may use it afterwards."""
        ...

    def upload(self, address: int, source: Bytes, stream: int) -> None:
        """Queue a copy to the device; `source` must not change until `wait` returns."""
        ...

    def download(self, target: Bytes, address: int, stream: int) -> None:
        """Queue a copy from the device; `target` is filled when `wait` returns."""
        ...

    def wait(self, stream: int) -> None:
        """Wait for all queued work."""
        ...


class CudaDevice:
    """See `Device`.

    Args:
        index: which of the machine's GPUs.

    Raises:
        EngineError: there is no driver, no GPU of that index, or cuda-python is not installed.
    """

    def __init__(self, index: int = 0) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise EngineError(f"cuda-python is not installed ({error}); {INSTALL}.") from error
        self._cuda: Any = runtime
        self._index = index
        self._pinned: dict[int, int] = {}
        count = self._count()
        if index >= count:
            raise EngineError(f"GPU {index} was asked for; this machine has {count}.")
        self.use()

    @property
    def compute_capability(self) -> ComputeCapability:
        """Its compute capability, which decides which engines it can run."""
        names = self._cuda.cudaDeviceAttr
        major, minor = (
            int(self._call("cudaDeviceGetAttribute", attribute, self._index))
            for attribute in (
                names.cudaDevAttrComputeCapabilityMajor,
                names.cudaDevAttrComputeCapabilityMinor,
            )
        )
        return ComputeCapability(major, minor)

    def use(self) -> None:
        """See `Device`."""
        self._call("cudaSetDevice", self._index)

    def open_stream(self) -> int:
        """See `Device`. It does not wait for the default stream, which is unused."""
        return int(self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking))

    def close_stream(self, stream: int) -> None:
        """See `Device`."""
        self._call("cudaStreamDestroy", stream)

    def allocate(self, size: int) -> int:
        """See `Device`."""
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        """See `Device`."""
        self._call("cudaFree", address)

    def allocate_pinned(self, size: int) -> Bytes:
        """See `Device`."""
        import ctypes

        address = int(self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault))
        memory = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        self._pinned[memory.ctypes.data] = address
        return memory

    def free_pinned(self, memory: Bytes) -> None:
        """See `Device`."""
        self._call("cudaFreeHost", self._pinned.pop(memory.ctypes.data))

    def upload(self, address: int, source: Bytes, stream: int) -> None:
        """See `Device`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, source.ctypes.data, source.nbytes, kind, stream)

    def download(self, target: Bytes, address: int, stream: int) -> None:
        """See `Device`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target.ctypes.data, address, target.nbytes, kind, stream)

    def wait(self, stream: int) -> None:
        """See `Device`."""
        self._call("cudaStreamSynchronize", stream)

    def _count(self) -> int:
        errors = self._cuda.cudaError_t
        try:
            error, count = self._cuda.cudaGetDeviceCount()
        except RuntimeError as reason:  # cuda-python raises where it finds no driver library at all.
            raise EngineError(f"There is no NVIDIA driver on this machine: {reason}.") from reason
        if error == errors.cudaErrorInsufficientDriver:
            raise EngineError(
                "There is no NVIDIA driver on this machine, or one too old for this CUDA "
                f"({self._text(error)}); install a newer one."
            )
        if error == errors.cudaErrorNoDevice:
            raise EngineError("This machine has an NVIDIA driver and no NVIDIA GPU.")
        if error != errors.cudaSuccess:
            raise EngineError(f"CUDA cannot be started: {self._text(error)}.")
        return int(count)

    def _call(self, name: str, *arguments: Any) -> Any:
        """The function's result, or None; every CUDA function returns an error code first."""
        error, *results = getattr(self._cuda, name)(*arguments)
        errors = self._cuda.cudaError_t
        if error == errors.cudaErrorMemoryAllocation:
            # Clear the last error, which TensorRT would report as its own.
            self._cuda.cudaGetLastError()
            asked = f" for {arguments[0] / 2**20:.0f} MiB more" if name in ALLOCATIONS else f" ({name})"
            raise DeviceMemoryError(f"The GPU has no memory{asked}.")
        if error != errors.cudaSuccess:
            raise EngineError(f"{name} failed: {self._text(error)}.")
        return results[0] if results else None

    def _text(self, error: Any) -> str:
        text = self._cuda.cudaGetErrorString(error)[1]
        return text.decode(errors="replace") if isinstance(text, bytes) else str(text)

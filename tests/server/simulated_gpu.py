"""A GPU and its TensorRT, simulated: memory is the host's, queued work is done when a stream is waited for.

What is simulated is what the runtime asks of them, so that its bookkeeping (profiles, pieces, places, banks)
is run for real. An engine computes with ONNX Runtime, from tensors at the addresses it was given.
"""

import ctypes
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort

from selsa_bundle.errors import DeviceMemoryError
from selsa_bundle.tensorrt.cuda_device import Bytes
from selsa_bundle.tensorrt.library import TensorRT
from selsa_bundle.tensorrt.profiles import Profile


class SimulatedGpu:
    """See `selsa_bundle.tensorrt.cuda_device.Device`; `limit` is its memory, `uploaded` counts bytes."""

    def __init__(self, limit: int = 1 << 40) -> None:
        self.limit = limit
        self.memory: dict[int, ctypes.Array] = {}
        self.pinned: dict[int, Bytes] = {}
        self.queues: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self.streams: set[int] = set()
        self.uploaded = 0

    @property
    def used(self) -> int:
        return sum(map(ctypes.sizeof, self.memory.values()))

    def use(self) -> None:
        pass

    def open_stream(self) -> int:
        stream = len(self.streams) + 1
        self.streams.add(stream)
        return stream

    def close_stream(self, stream: int) -> None:
        self.streams.remove(stream)

    def allocate(self, size: int) -> int:
        if self.used + size > self.limit:
            raise DeviceMemoryError(f"The GPU has no memory for {size} bytes more.")
        piece = (ctypes.c_uint8 * size)()
        self.memory[ctypes.addressof(piece)] = piece
        return ctypes.addressof(piece)

    def free(self, address: int) -> None:
        del self.memory[address]

    def allocate_pinned(self, size: int) -> Bytes:
        memory = np.zeros(size, np.uint8)
        self.pinned[memory.ctypes.data] = memory
        return memory

    def free_pinned(self, memory: Bytes) -> None:
        del self.pinned[memory.ctypes.data]

    def upload(self, address: int, source: Bytes, stream: int) -> None:
        self.uploaded += source.nbytes
        self.queues[stream].append(lambda: np.copyto(self.view(address, source.nbytes), source))

    def download(self, target: Bytes, address: int, stream: int) -> None:
        self.queues[stream].append(lambda: np.copyto(target, self.view(address, target.nbytes)))

    def wait(self, stream: int) -> None:
        while self.queues[stream]:
            self.queues[stream].pop(0)()

    def view(self, address: int, size: int) -> Bytes:
        piece = self.memory[address]
        assert size <= ctypes.sizeof(piece), "beyond what was allocated"
        return np.frombuffer(piece, np.uint8, size)


class _Context:
    def __init__(self, engine: "_Engine") -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scratch = self.profile = None

    def set_device_memory(self, address: int, size: int) -> None:
        self.scratch = (address, size)

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.profile = index
        return index < self.engine.num_optimization_profiles

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        return [node.name for node in self.engine.session.get_inputs() if node.name not in self.shapes]

    def execute_async_v3(self, stream: int) -> bool:
        gpu, engine = self.engine.gpu, self.engine
        address, size = self.scratch
        assert size >= engine.get_device_memory_size_for_profile_v2(self.profile)
        assert address in gpu.memory
        shapes, addresses = dict(self.shapes), dict(self.addresses)
        assert engine.profiles[self.profile].fits(sizes_of(shapes)), "outside the profile"
        gpu.queues[stream].append(lambda: engine.compute(shapes, addresses))
        engine.calls.append((self.profile, sizes_of(shapes)["B"]))
        return True


class _Engine:
    def __init__(self, gpu: SimulatedGpu, session: ort.InferenceSession, profiles: list[Profile]) -> None:
        self.gpu, self.session, self.profiles = gpu, session, profiles
        self.num_optimization_profiles = len(profiles)
        self.calls: list[tuple[int, int]] = []

    def get_device_memory_size_for_profile_v2(self, index: int) -> int:
        return 1000 * self.profiles[index].batch

    def create_runtime_config(self) -> SimpleNamespace:
        settings = SimpleNamespace()
        settings.set_execution_context_allocation_strategy = lambda strategy: setattr(
            settings, "how", strategy
        )
        return settings

    def create_execution_context(self, how: str | SimpleNamespace) -> _Context:
        assert (how if isinstance(how, str) else how.how) == "user managed"
        return _Context(self)

    def compute(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        types = {"tensor(uint8)": "uint8", "tensor(int64)": "int64", "tensor(bool)": "bool"}
        feeds = {}
        for node in self.session.get_inputs():
            dtype = np.dtype(types.get(node.type, "float32"))
            size = int(np.prod(shapes[node.name])) * dtype.itemsize
            memory = self.gpu.view(addresses[node.name], size)
            feeds[node.name] = memory.view(dtype).reshape(shapes[node.name]).copy()
        names = [node.name for node in self.session.get_outputs()]
        for name, value in zip(names, self.session.run(names, feeds), strict=True):
            flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
            np.copyto(self.gpu.view(addresses[name], flat.nbytes), flat)


def sizes_of(shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    if "frames" in shapes:
        return dict(zip("BHW", shapes["frames"], strict=False))
    return {"B": shapes["boxes"][0], "R": shapes["bank_valid"][0]}


class SimulatedTensorRt:
    """The module. A serialised engine is the path of an ONNX file; `engines` are those that were loaded."""

    __version__ = "1.2.3.4"

    def __init__(self, gpu: SimulatedGpu, profiles: dict[str, list[Profile]]) -> None:
        self.engines: dict[str, _Engine] = {}
        self.ILogger = type("ILogger", (), {"__init__": lambda self: None})
        self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
        self._gpu, self._profiles = gpu, profiles

    def Runtime(self, _log: object) -> "SimulatedTensorRt":
        return self

    def deserialize_cuda_engine(self, serialised: bytes) -> _Engine | None:
        if serialised == b"damaged":
            return None
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(serialised.decode(), options, providers=["CPUExecutionProvider"])
        name = "frame" if session.get_inputs()[0].name == "frames" else "sequence"
        engine = self.engines[name] = _Engine(self._gpu, session, self._profiles[name])
        return engine

    def library(self, name: str = "tensorrt") -> TensorRT:
        return TensorRT(self, name, self.__version__)

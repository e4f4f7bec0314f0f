"""Engines in ONNX Runtime, on the CPU or on a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import onnxruntime as ort

from selsa_bundle.contract import Dimensions, EngineName, contract_for
from selsa_bundle.engine import Array, EngineInfo, ReferenceBank, bank_feeds
from selsa_bundle.errors import EngineError
from selsa_bundle.runtime_base import (
    CLOSED,
    FoundTensor,
    RuntimeEngines,
    check_tensors,
    failure,
    lines_of,
)
from selsa_bundle.runtimes.choice import Graphs
from selsa_bundle.runtimes.onnx_device import ResidentBanks, run_bound
from selsa_bundle.runtimes.processor import usable_cores
from selsa_bundle.tolerance import Precision

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"
# ONNX Runtime's CUDA provider computes fp32 products in TensorFloat-32 (10 bits of mantissa) by default.
FULL_FP32: Final = {"use_tf32": "0"}

ORT_DTYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
    "tensor(float)": "float32",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How ONNX Runtime runs the engines.

    Attributes:
        threads: threads of one operator; 0: one per physical core.
        providers: execution providers, first choice first.
        spin: whether idle threads spin. They would do so long after a call, and the threads of the two
            engines and of the decoder would compete for the cores; see `benchmarks/speed/schedules.py`.
        provider_options: of the first provider, by ONNX Runtime's names.
        device: where inputs are bound and banks stay, by ONNX Runtime's name; None: `cuda` where the engines
            run on a GPU, else nowhere.
    """

    threads: int = 0
    providers: tuple[str, ...] = (CPU,)
    precision: Precision = "fp32"
    spin: bool = False
    provider_options: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None


class OnnxEngines(RuntimeEngines):
    """A bundle's two engines in ONNX Runtime."""

    def __init__(self, frame: Path, sequence: Path, dimensions: Dimensions, options: RuntimeOptions) -> None:
        """Create both sessions and check their tensors against the contract.

        Raises:
            EngineError: ONNX Runtime cannot load a file.
            ContractError: an engine's tensors are not those of the contract.
        """
        paths: dict[EngineName, Path] = {"frame": frame, "sequence": sequence}
        self._sessions = {name: _session(path, options) for name, path in paths.items()}
        for name, path in paths.items():
            sides = self._sessions[name].get_inputs(), self._sessions[name].get_outputs()
            inputs, outputs = ([_tensor(node) for node in side] for side in sides)
            check_tensors(path, contract_for(name, dimensions), inputs, outputs, derives_all=True)
        provider = self._sessions["frame"].get_providers()[0]
        super().__init__(dimensions, EngineInfo(provider=provider, precision=options.precision))
        self._trims: dict[EngineName, _ArenaTrim] = {name: _ArenaTrim() for name in paths}
        device = options.device or ("cuda" if provider in (CUDA, TENSORRT) else None)
        self._banks = None if device is None else ResidentBanks(device, dimensions)

    def call(
        self, engine: EngineName, feeds: Mapping[str, Array], bank: ReferenceBank | None
    ) -> dict[str, Array]:
        """One call; its inputs are bound to the device where the banks stay on one."""
        session = self._sessions.get(engine)
        if session is None:
            raise EngineError(CLOSED)
        # The arena grows with each new size of frames or of the bank.
        size = feeds["frames"].shape[1:3] if bank is None else bank.valid.shape
        options = self._trims[engine](size)
        names = [node.name for node in session.get_outputs()]
        resident = None
        if self._banks is not None:
            resident = {} if bank is None else self._banks.values(bank)
        elif bank is not None:
            feeds = {**feeds, **bank_feeds(self._dimensions, bank)}
        try:
            if resident is None:
                outputs = session.run(None, dict(feeds), options)
            else:
                outputs = run_bound(session, feeds, resident, options)
        except Exception as error:
            raise failure("ONNX Runtime", feeds, lines_of(error)[0]) from error
        return dict(zip(names, outputs, strict=True))

    def close(self) -> None:
        """Drop both sessions, which frees their memory."""
        self._sessions.clear()
        if self._banks is not None:
            self._banks.clear()


class _ArenaTrim:
    """When an engine's memory arena frees what it does not use.

    An arena keeps the most memory that any call needed, in pieces that fit the sizes of the calls. After
    calls of more than one size, every `EVERY`-th call frees all of it, and the next one allocates again.
    """

    EVERY: ClassVar = 64

    def __init__(self) -> None:
        self._calls = 0
        self._sizes: set[tuple[int, ...]] = set()
        self._trimming = ort.RunOptions()
        self._trimming.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def __call__(self, size: tuple[int, ...]) -> ort.RunOptions | None:
        """Options for a call of that size. Threads may race here: a trim more or less is harmless."""
        self._calls += 1
        self._sizes.add(size)
        if self._calls < self.EVERY:
            return None
        due = len(self._sizes) > 1
        self._calls, self._sizes = 0, set()
        return self._trimming if due else None


def _session(path: Path, options: RuntimeOptions) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spin)))
    # Frame sizes vary from video to video, and a memory plan would be kept for every size. The arena stays
    # on, since both engines are slower without it. `_ArenaTrim` frees what it keeps.
    settings.enable_mem_pattern = False
    own, *others = options.providers
    providers = [(own, dict(options.provider_options)), *others]
    try:
        return ort.InferenceSession(str(path), settings, providers=providers)
    except Exception as error:
        raise EngineError(f"ONNX Runtime cannot load {path}: {lines_of(error)[0]}") from error


def _tensor(node: Any) -> FoundTensor:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return FoundTensor(node.name, ORT_DTYPES.get(node.type, node.type), shape)


def open_cpu(graphs: Graphs) -> OnnxEngines:
    """Engines on the CPU."""
    return open_onnx(graphs, (CPU,))


def open_cuda(graphs: Graphs) -> OnnxEngines:
    """Engines on the first GPU."""
    return open_onnx(graphs, (CUDA, CPU), FULL_FP32)


def open_onnx(
    graphs: Graphs, providers: tuple[str, ...], provider_options: Mapping[str, str] | None = None
) -> OnnxEngines:
    """Engines on the first of these execution providers, which gets the options.

    Raises:
        EngineError: ONNX Runtime chose another one, and the CPU was not allowed instead.
    """
    options = RuntimeOptions(
        threads=graphs.options.threads or _share_of_cores(graphs.options.calls),
        providers=providers,
        precision=graphs.precision,
        provider_options=provider_options or {},
    )
    dims = graphs.manifest.dimensions
    engines = OnnxEngines(graphs.path("frame"), graphs.path("sequence"), dims, options)
    found = engines.info.provider
    if found == providers[0] or (graphs.options.allow_cpu and found == CPU):
        return engines
    engines.close()
    raise EngineError(
        f"The engines run on {found} although {providers[0]} was requested; repair its installation, or give "
        "--allow-cpu to run on the CPU."
    )


def _share_of_cores(calls: int) -> int:
    """Threads of each of the calls that run at once; 0 for a single one, so that ONNX Runtime chooses.

    Two calls with half the threads each take less time than two with all: an operator's threads wait for one
    another, and only some operators have work for all of them. See `benchmarks/speed/schedules.py`.
    """
    return 0 if calls == 1 else max(1, usable_cores() // calls)

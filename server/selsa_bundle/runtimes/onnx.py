"""The ONNX Runtime side of the engine protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from selsa_bundle.contract import Dimensions, EngineContract, EngineName, TensorSpec, contract_for
from selsa_bundle.engine import DetectionBatch, EngineInfo, Float, FrameBatch, Int, ReferenceBank
from selsa_bundle.errors import ContractError, EngineError
from selsa_bundle.runtimes.onnx_device import ResidentBanks, run_bound
from selsa_bundle.tolerance import Precision

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"

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
        threads: threads of one operator; 0 lets the runtime take one per physical core.
        providers: execution providers, first choice first.
        precision: what is written into the graphs.
        spin: whether threads without work wait awake. They do so long after a call, and the two engines'
            threads and the decoder's then fight for the cores; `benchmarks/waiting_threads.py` has the cost.
        device: where inputs are bound and banks stay, by ONNX Runtime's name; None: `cuda` where the engines
            run on a GPU, else nowhere.
    """

    threads: int = 0
    providers: tuple[str, ...] = (CPU,)
    precision: Precision = "fp32"
    spin: bool = False
    device: str | None = None


class OnnxEngines:
    """A bundle's two engines in ONNX Runtime. See `selsa_bundle.engine.Engines`."""

    def __init__(self, frame: Path, sequence: Path, dimensions: Dimensions, options: RuntimeOptions) -> None:
        """Create both sessions and check their tensors against the contract.

        Raises:
            EngineError: ONNX Runtime cannot load a file.
            ContractError: an engine's tensors are not those of the contract.
        """
        self._dimensions = dimensions
        frame_session, sequence_session = _session(frame, options), _session(sequence, options)
        _check_contract("frame", frame, frame_session, dimensions)
        _check_contract("sequence", sequence, sequence_session, dimensions)
        self._frame: ort.InferenceSession | None = frame_session
        self._sequence: ort.InferenceSession | None = sequence_session
        self._trim, self._trim_sequence = _ArenaTrim(), _ArenaTrim()
        on_gpu = frame_session.get_providers()[0] in (CUDA, TENSORRT)
        device = options.device or ("cuda" if on_gpu else None)
        self._banks = None if device is None else ResidentBanks(device)
        self._info = EngineInfo(provider=frame_session.get_providers()[0], precision=options.precision)

    @property
    def dimensions(self) -> Dimensions:
        """The fixed dimensions P, C, S and D."""
        return self._dimensions

    @property
    def info(self) -> EngineInfo:
        """The execution provider that ONNX Runtime chose."""
        return self._info

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """Run the frame engine; see the protocol."""
        feeds: dict[str, npt.NDArray[Any]] = {"frames": frames, "image_size": image_size}
        resident: dict[str, Any] | None = None if self._banks is None else {}
        out = _run(self._frame, feeds, self._trim(frames.shape[1:3]), resident)
        return FrameBatch(boxes=out[0], valid=out[1], queries=out[2], memory=out[3])

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """Run the sequence engine; see the protocol."""
        feeds: dict[str, npt.NDArray[Any]] = {
            "boxes": batch.boxes,
            "valid": batch.valid,
            "queries": batch.queries,
            "memory": batch.memory,
            "image_size": image_size,
            "scale_factor": scale_factor,
        }
        resident = None
        if self._banks is None:
            feeds |= {"bank": bank.memory, "bank_valid": bank.valid}
        else:
            resident = self._banks.values(bank)
        out = _run(self._sequence, feeds, self._trim_sequence(bank.valid.shape), resident)
        return DetectionBatch(boxes=out[0], scores=out[1], labels=out[2], count=out[3])

    def close(self) -> None:
        """Let go of both sessions, which frees their memory."""
        self._frame = self._sequence = None
        if self._banks is not None:
            self._banks.clear()


class _ArenaTrim:
    """When an engine's arena gives back what it does not use.

    An arena keeps the most that any call ever needed, in pieces that fit the sizes of the calls. After calls
    of more than one size, every `EVERY`-th call gives all of it back; the next one pays for new memory.
    """

    EVERY: ClassVar = 64

    def __init__(self) -> None:
        self._calls = 0
        self._sizes: set[tuple[int, ...]] = set()
        self._trimming = ort.RunOptions()
        self._trimming.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def __call__(self, size: tuple[int, ...]) -> ort.RunOptions | None:
        """Options for a call of that size. Threads may race here: a trim more or less is no harm."""
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
    # Frame sizes vary from video to video, and a memory plan is kept for every size ever seen. The arena
    # stays: without it R-50's frame engine took 1.1 to 1.6 times as long, its sequence engine 2 to 3 times.
    # What it keeps is given back from time to time; see `_ArenaTrim`.
    settings.enable_mem_pattern = False
    try:
        return ort.InferenceSession(str(path), settings, providers=list(options.providers))
    except Exception as error:
        raise EngineError(f"ONNX Runtime cannot load {path}: {_first_line(error)}") from error


def _run(
    session: ort.InferenceSession | None,
    feeds: Mapping[str, npt.NDArray[Any]],
    options: ort.RunOptions | None,
    resident: Mapping[str, Any] | None,
) -> Sequence[Any]:
    """Arrays in, arrays out; bound to a device where `resident` has what lies there, if only nothing."""
    if session is None:
        raise EngineError("The engines were closed.")
    try:
        if resident is not None:
            return run_bound(session, feeds, resident, options)
        result: Sequence[Any] = session.run(None, dict(feeds), options)
    except Exception as error:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feeds.items())
        raise EngineError(f"ONNX Runtime failed on {shapes}: {_first_line(error)}") from error
    return result


def _check_contract(engine: EngineName, path: Path, session: ort.InferenceSession, dims: Dimensions) -> None:
    contract: EngineContract = contract_for(engine, dims)
    _check_tensors(path, "inputs", contract.inputs, session.get_inputs())
    _check_tensors(path, "outputs", contract.outputs, session.get_outputs())


def _check_tensors(path: Path, side: str, want: Sequence[TensorSpec], found: Sequence[Any]) -> None:
    if [spec.name for spec in want] != [node.name for node in found]:
        names = ", ".join(node.name for node in found)
        allowed = ", ".join(spec.name for spec in want)
        raise ContractError(f"{path}: {side} are ({names}), the tensor contract has ({allowed})")
    for spec, node in zip(want, found, strict=True):
        dtype = ORT_DTYPES.get(node.type, node.type)
        if dtype != spec.dtype or not _shape_fits(spec.shape, node.shape):
            raise ContractError(
                f"{path}: {node.name} is {dtype} {node.shape}, the tensor contract has {spec}"
            )


def _shape_fits(want: tuple[int | str, ...], found: Sequence[int | str | None]) -> bool:
    """A fixed dimension must be the same number; a dynamic one must be dynamic."""
    return len(want) == len(found) and all(
        w == f if isinstance(w, int) else not isinstance(f, int) for w, f in zip(want, found, strict=True)
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

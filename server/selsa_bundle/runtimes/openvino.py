"""The OpenVINO side of the engine protocol: the same ONNX files, on the CPU, in fp32, bfloat16 or int8.

In bfloat16 OpenVINO itself keeps what follows the last matrix product before an output in fp32, and so the
decoding of boxes and their suppression; `openvino_boxes` sees to what boxes pass through after that.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from selsa_bundle.contract import Dimensions, EngineName, TensorSpec, contract_for
from selsa_bundle.engine import DetectionBatch, EngineInfo, Float, FrameBatch, Int, ReferenceBank
from selsa_bundle.errors import ContractError, EngineError
from selsa_bundle.runtimes.openvino_boxes import keep_boxes_exact
from selsa_bundle.tolerance import Precision

# OpenVINO compiles kernels for each size of frame and keeps 5,000. R-50 has 130 a size, so a server that
# sees many sizes of video would grow for ever; with these it has those of eight.
KERNELS_KEPT: Final = "1000"
DTYPES: Final = {"u8": "uint8", "i64": "int64", "boolean": "bool", "f32": "float32"}


class OpenVinoEngines:
    """A bundle's two engines in OpenVINO. See `selsa_bundle.engine.Engines`."""

    def __init__(
        self, frame: Path, sequence: Path, dimensions: Dimensions, *, precision: Precision, threads: int
    ) -> None:
        """Compile both graphs and check their tensors against the contract.

        Args:
            frame: ONNX file of the frame engine.
            sequence: ONNX file of the sequence engine.
            dimensions: of the bundle.
            precision: what convolutions and matrix products compute in; int8 is written into the graph, and
                what is not quantised there is then fp32.
            threads: 0: one per physical core.

        Raises:
            EngineError: OpenVINO cannot load a file.
            ContractError: an engine's tensors are not those of the contract.
        """
        self._dimensions = dimensions
        self._info = EngineInfo(provider="OpenVINO", precision=precision)
        core = _core()
        hint = "bf16" if precision == "bf16" else "f32"
        settings = {
            "INFERENCE_PRECISION_HINT": hint,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            # Pinned threads stand in line behind whatever else runs on their core.
            "ENABLE_CPU_PINNING": "NO",
            "CPU_RUNTIME_CACHE_CAPACITY": KERNELS_KEPT,
        }
        self._frame: _Requests | None = _Requests(core, "frame", frame, dimensions, settings)
        self._sequence: _Requests | None = _Requests(core, "sequence", sequence, dimensions, settings)

    @property
    def dimensions(self) -> Dimensions:
        """The fixed dimensions P, C, S and D."""
        return self._dimensions

    @property
    def info(self) -> EngineInfo:
        """OpenVINO, and what it computes in."""
        return self._info

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """Run the frame engine; see the protocol."""
        out = _run(self._frame, {"frames": frames, "image_size": image_size})
        return FrameBatch(
            boxes=out["boxes"], valid=out["valid"], queries=out["queries"], memory=out["memory"]
        )

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """Run the sequence engine; see the protocol."""
        feeds = {
            "boxes": batch.boxes,
            "valid": batch.valid,
            "queries": batch.queries,
            "memory": batch.memory,
            "image_size": image_size,
            "scale_factor": scale_factor,
            "bank": bank.memory,
            "bank_valid": bank.valid,
        }
        out = _run(self._sequence, feeds)
        return DetectionBatch(
            boxes=out["detections"], scores=out["scores"], labels=out["labels"], count=out["count"]
        )

    def close(self) -> None:
        """Let go of both engines, which frees their memory."""
        self._frame = self._sequence = None


@cache
def _core() -> ov.Core:
    """OpenVINO itself, once and for as long as the process lives.

    The thread that first compiles for the CPU gets a stack for signals from it. When the last core goes, that
    stack is freed; if another thread lets go of it, it stays set all the same, and the next signal ends the
    process.
    """
    return ov.Core()


class _Requests:
    """A compiled engine and the requests that run it: one for each call at the same time, kept for the next.

    A request holds the memory of one call, and only one thread may use it.
    """

    def __init__(
        self, core: ov.Core, engine: EngineName, path: Path, dims: Dimensions, settings: dict[str, str]
    ) -> None:
        try:
            model = core.read_model(str(path))
            given = len(model.outputs)
            if engine == "frame" and settings["INFERENCE_PRECISION_HINT"] == "bf16":
                keep_boxes_exact(model)
            self._model = core.compile_model(model, "CPU", settings)
        except Exception as error:
            raise EngineError(f"OpenVINO cannot load {path}: {_last_line(error)}") from error
        contract = contract_for(engine, dims)
        _check_tensors(path, "inputs", contract.inputs, self._model.inputs)
        _check_tensors(path, "outputs", contract.outputs, self._model.outputs[:given])
        self.outputs = [spec.name for spec in contract.outputs]
        self._free: list[ov.InferRequest] = []
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[ov.InferRequest]:
        """A request that nobody else has."""
        with self._lock:
            request = self._free.pop() if self._free else None
        request = request or self._model.create_infer_request()
        try:
            yield request
        finally:
            with self._lock:
                self._free.append(request)


def _run(engine: _Requests | None, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    if engine is None:
        raise EngineError("The engines were closed.")
    # Shared memory must be contiguous.
    inputs = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
    try:
        with engine.one() as request:
            # Outputs are copied: the request's own memory is the next call's.
            found = request.infer(inputs, share_inputs=True, share_outputs=False)
            return {name: found[position] for position, name in enumerate(engine.outputs)}
    except Exception as error:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feeds.items())
        raise EngineError(f"OpenVINO failed on {shapes}: {_last_line(error)}") from error


def _check_tensors(path: Path, side: str, want: tuple[TensorSpec, ...], found: list[Any]) -> None:
    names = [node.any_name for node in found]
    if [spec.name for spec in want] != names:
        allowed = ", ".join(spec.name for spec in want)
        raise ContractError(f"{path}: {side} are ({', '.join(names)}), the tensor contract has ({allowed})")
    for spec, node in zip(want, found, strict=True):
        kind = node.element_type.get_type_name()
        dtype, shape = DTYPES.get(kind, kind), node.partial_shape
        # What OpenVINO does not derive is dynamic to it; a number it did derive must be the contract's.
        fits = len(shape) == len(spec.shape) and all(
            f.is_dynamic or f.get_length() == w for w, f in zip(spec.shape, shape, strict=True)
        )
        if dtype != spec.dtype or not fits:
            raise ContractError(f"{path}: {node.any_name} is {dtype} {shape}, the tensor contract has {spec}")


def _last_line(error: Exception) -> str:
    """OpenVINO says where in its sources it was first, and what was wrong last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

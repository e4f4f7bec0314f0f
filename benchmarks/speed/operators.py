"""The time of an engine by operator, from ONNX Runtime's profiler."""

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
import onnxruntime as ort
import orjson

from selsa_server.bench.ways import BenchError

# The first kind is the network's arithmetic; the others move data or choose boxes.
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "convolutions and matrix products": (
        "Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul",
        "Attention", "MultiHeadAttention", "QLinearConv", "QLinearMatMul", "QGemm", "MatMulInteger",
        "ConvInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits",
    ),
    "RoIAlign": ("RoiAlign",),
    "suppression": ("NonMaxSuppression",),
    "sorting": ("TopK", "ArgMax", "ArgMin", "Unique"),
    "quantising": ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    "moving data": (
        "Transpose", "Reshape", "Concat", "Slice", "Gather", "GatherElements", "GatherND", "Expand", "Pad",
        "Cast", "ReorderInput", "ReorderOutput", "Split", "Squeeze", "Unsqueeze", "Tile", "Where",
        "ScatterND", "ScatterElements", "Shape", "Identity", "ConstantOfShape", "Range", "Flatten",
        "Compress", "NonZero", "MemcpyToHost", "MemcpyFromHost", "Size", "OneHot", "Trilu",
    ),
}  # fmt: skip
ELEMENTWISE: Final = "element by element"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One type of operator: its ONNX name, its kind, and its seconds in one run of the engine."""

    operator: str
    kind: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """One engine, one frame in a call, means over the runs.

    Attributes:
        engine: `frame` or `sequence`.
        run: seconds of a whole run, including the time between operators.
        operators: by descending time.
    """

    engine: str
    run: float
    operators: tuple[OperatorTime, ...]


def kind_of(operator: str) -> str:
    """The kind of an operator."""
    return next((kind for kind, names in KINDS.items() if operator in names), ELEMENTWISE)


def onnx_profile(
    engine: str, path: Path, feeds: Mapping[str, npt.NDArray[Any]], *, threads: int, runs: int
) -> EngineProfile:
    """Run a graph on the CPU under ONNX Runtime's profiler.

    Args:
        engine: which of the two.
        path: its file.
        feeds: its inputs.
        threads: of one operator; 0: one per physical core.
        runs: measured, after one to warm up.

    Raises:
        BenchError: ONNX Runtime cannot run it, or its profile cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = ort.SessionOptions()
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / engine)
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # The runtime's own settings: no memory pattern, and idle threads sleep.
        settings.enable_mem_pattern = False
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
            for _ in range(runs + 1):
                session.run(None, dict(feeds))
            events = orjson.loads(Path(session.end_profiling()).read_bytes())
        except Exception as error:
            raise BenchError(f"no profile of {path.name}: {error}") from error
    return _profile(engine, events, runs)


def _profile(engine: str, events: list[dict[str, Any]], runs: int) -> EngineProfile:
    whole = sorted((e for e in events if e.get("name") == "model_run"), key=lambda event: int(event["ts"]))
    begin = int(whole[1]["ts"])
    sums: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= begin:
            sums[event["args"]["op_name"]] += event["dur"] / 1e6 / runs
    operators = [
        OperatorTime(operator=name, kind=kind_of(name), seconds=seconds)
        for name, seconds in sorted(sums.items(), key=lambda item: -item[1])
    ]
    return EngineProfile(
        engine=engine, run=sum(e["dur"] for e in whole[1:]) / 1e6 / runs, operators=tuple(operators)
    )

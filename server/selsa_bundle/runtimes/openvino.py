"""Engines in OpenVINO: the same ONNX files, on the CPU, in fp32, bfloat16 or int8.

In bfloat16 OpenVINO keeps everything after the last matrix product before an output in fp32, which covers the
decoding of boxes and their suppression; for the other paths see `keep_boxes_exact`.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

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
from selsa_bundle.runtimes.engine_cache import EngineCache, EngineKey
from selsa_bundle.runtimes.processor import processor_flags, processor_name
from selsa_bundle.runtimes.starting import started, without
from selsa_bundle.tolerance import Precision

# The converter of other frameworks' models is half of OpenVINO's import, and no engine needs it; see
# findings/openvino-import-loads-its-converter.sh.
with without("openvino.tools.ovc"):
    import openvino as ov


def _left_out(name: str) -> Any:
    """The module attribute `openvino.convert_model`, for programs that use OpenVINO beside selsa."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    from openvino.tools.ovc import convert_model

    return convert_model


if not hasattr(ov, "convert_model"):
    ov.__getattr__ = _left_out

# OpenVINO compiles kernels for each size of frame and batch, and keeps 5,000 for each engine, so that the
# memory of a server would grow over many sizes of video: `python tests/load/generator.py sizes` measures it.
# A kernel that is not kept is compiled again.
KERNELS_KEPT: Final = "300"
HINT: Final = "INFERENCE_PRECISION_HINT"
POOLING: Final = ("ROIAlign", "MatMul")
DTYPES: Final = {"u8": "uint8", "i64": "int64", "boolean": "bool", "f32": "float32"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """Compiled engines of a bundle in the user's cache: loading one takes less time than compiling it.

    Attributes:
        cache: the folder.
        sha256: of the graph's file, by engine.
    """

    cache: EngineCache
    sha256: Mapping[EngineName, str]

    def model(
        self, engine: EngineName, settings: Mapping[str, str], compiling: Callable[[], ov.CompiledModel]
    ) -> ov.CompiledModel:
        """The engine from the cache, or compiled and kept there; only compiled if the folder cannot be used.

        Raises:
            EngineError: it cannot be compiled.
        """
        new: list[ov.CompiledModel] = []

        def compiled() -> bytes:
            new.append(compiling())
            return bytes(new[0].export_model().getbuffer())

        processor = f"{processor_name()} {sorted(processor_flags())}"
        key = EngineKey(
            engine=engine,
            onnx_sha256=self.sha256[engine],
            library="openvino",
            version=ov.get_version(),
            processor=f"cpu{hashlib.sha256(processor.encode()).hexdigest()[:16]}",
            precision=settings[HINT],
            profiles=(),
            flags=tuple(f"{name}={value}" for name, value in settings.items()),
        )
        try:
            kept = self.cache.get(key, compiled)
            return new[0] if new else _core().import_model(kept, "CPU", settings)
        except (EngineError, RuntimeError):
            return new[0] if new else compiling()


class OpenVinoEngines(RuntimeEngines):
    """A bundle's two engines in OpenVINO."""

    def __init__(
        self,
        frame: Path,
        sequence: Path,
        dimensions: Dimensions,
        *,
        precision: Precision,
        threads: int,
        calls: int = 1,
        compiled: Compiled | None = None,
    ) -> None:
        """Compile both graphs and check their tensors against the contract.

        Args:
            precision: what convolutions and matrix products compute in; int8 is written into the frame
                engine's graph. What is not quantised there is then fp32, and the sequence engine is bf16 on a
                processor that has it.
            threads: of one call; 0: OpenVINO shares out the cores among the calls.
            calls: that run at the same time; others wait.
            compiled: where compiled engines are kept; None: nowhere.

        Raises:
            EngineError: OpenVINO cannot load a file.
            ContractError: an engine's tensors are not those of the contract.
        """
        super().__init__(dimensions, EngineInfo(provider="OpenVINO", precision=precision))
        settings = {
            "PERFORMANCE_HINT": "LATENCY" if calls == 1 else "THROUGHPUT",
            "NUM_STREAMS": str(calls),
            "INFERENCE_NUM_THREADS": str(threads * calls),
            # A pinned thread has to wait if another program uses its core.
            "ENABLE_CPU_PINNING": "NO",
            "CPU_RUNTIME_CACHE_CAPACITY": KERNELS_KEPT,
        }
        paths: dict[EngineName, Path] = {"frame": frame, "sequence": sequence}
        # At the same time: most of a compilation runs on one thread.
        compiling = {
            name: started(
                partial(
                    _Requests, name, path, dimensions, {**settings, HINT: _hint(name, precision)}, compiled
                )
            )
            for name, path in paths.items()
        }
        self._requests = {name: compiled() for name, compiled in compiling.items()}

    def call(
        self, engine: EngineName, feeds: Mapping[str, Array], bank: ReferenceBank | None
    ) -> dict[str, Array]:
        """Run one call on its own infer request."""
        requests = self._requests.get(engine)
        if requests is None:
            raise EngineError(CLOSED)
        given = {**feeds, **({} if bank is None else bank_feeds(self._dimensions, bank))}
        # Shared memory must be contiguous.
        inputs = {name: np.ascontiguousarray(value) for name, value in given.items()}
        try:
            with requests.one() as request:
                # Outputs are copied: the next call overwrites the request's own memory.
                found = request.infer(inputs, share_inputs=True, share_outputs=False)
                return {name: found[position] for position, name in enumerate(requests.outputs)}
        except Exception as error:
            raise failure("OpenVINO", given, lines_of(error)[-1]) from error

    def close(self) -> None:
        """Drop both engines, which frees their memory."""
        self._requests.clear()


@cache
def _core() -> ov.Core:
    """OpenVINO's core, one for the lifetime of the process.

    The thread that first compiles for the CPU gets a signal stack from it. Deleting the last core frees that
    stack; if another thread deletes it, the first thread keeps using the freed stack, and the next signal
    ends the process.
    """
    return ov.Core()


def _compile(engine: EngineName, path: Path, settings: Mapping[str, str]) -> ov.CompiledModel:
    core = _core()
    try:
        model = core.read_model(str(path))
        if engine == "frame" and settings[HINT] == "bf16":
            keep_boxes_exact(model)
        return core.compile_model(model, "CPU", settings)
    except Exception as error:
        # OpenVINO's first lines name places in its own source, the last one names the cause.
        raise EngineError(f"OpenVINO cannot load {path}: {lines_of(error)[-1]}") from error


class _Requests:
    """A compiled engine and its requests: one for each concurrent call, reused by later calls.

    A request holds the memory of one call, and only one thread may use it.
    """

    def __init__(
        self,
        engine: EngineName,
        path: Path,
        dims: Dimensions,
        settings: dict[str, str],
        compiled: Compiled | None,
    ) -> None:
        compiling = partial(_compile, engine, path, settings)
        self._model = compiling() if compiled is None else compiled.model(engine, settings, compiling)
        contract = contract_for(engine, dims)
        inputs = [_tensor(node) for node in self._model.inputs]
        # `keep_boxes_exact` adds outputs after those of the graph.
        given = len(contract.outputs) if settings[HINT] == "bf16" else None
        outputs = [_tensor(node) for node in self._model.outputs[:given]]
        # A dimension that OpenVINO does not derive is dynamic to it.
        check_tensors(path, contract, inputs, outputs, derives_all=False)
        self.outputs = [spec.name for spec in contract.outputs]
        self._free: list[ov.InferRequest] = []
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[ov.InferRequest]:
        """A request that no other call uses."""
        with self._lock:
            request = self._free.pop() if self._free else None
        request = request or self._model.create_infer_request()
        try:
            yield request
        finally:
            with self._lock:
                self._free.append(request)


def _tensor(node: Any) -> FoundTensor:
    kind, shape = node.element_type.get_type_name(), node.partial_shape
    sizes = tuple(None if size.is_dynamic else size.get_length() for size in shape)
    return FoundTensor(node.any_name, DTYPES.get(kind, kind), sizes)


def _hint(engine: EngineName, precision: Precision) -> str:
    """The precision of what is not quantised; OpenVINO computes in fp32 where the processor has no bf16."""
    return "bf16" if precision == "bf16" or (precision == "int8" and engine == "sequence") else "f32"


def open_openvino(graphs: Graphs) -> OpenVinoEngines:
    """Engines on the CPU; compiled ones are kept if a folder for them is named."""
    options, compiled = graphs.options, None
    if options.engine_cache is not None:
        files = graphs.manifest.engines[graphs.variant]
        cache = EngineCache(options.engine_cache, options.say)
        compiled = Compiled(cache, {name: file.sha256 for name, file in files.items()})
    return OpenVinoEngines(
        graphs.path("frame"),
        graphs.path("sequence"),
        graphs.manifest.dimensions,
        precision=graphs.precision,
        threads=options.threads,
        calls=options.calls,
        compiled=compiled,
    )


def keep_boxes_exact(model: ov.Model) -> None:
    """Keep what boxes pass through exact where OpenVINO computes in bfloat16.

    bfloat16 has a step of two pixels from 256 on and of four from 512 on. OpenVINO keeps the layers between
    the last matrix product and an output in fp32, so the output boxes are exact. Their path into RoIAlign is
    no output and was rounded: features belonged to boxes up to two pixels off. So the boxes' inputs of
    RoIAlign, or of the products that it is made of, become outputs after the existing ones. On the packaged
    model that takes queries and memory from 2 % off to 0.7 % off, for the time of copying a few kilobytes.
    """
    found: dict[tuple[str, int], None] = {}
    seen: set[str] = set()
    todo = [result.input(0).get_source_output() for result in model.get_results()]
    todo = [output for output in todo if "boxes" in output.get_names()]
    while todo:
        output = todo.pop()
        for target in output.get_target_inputs():
            node = target.get_node()
            name = node.get_friendly_name()
            if node.get_type_name() in POOLING:
                found[output.get_node().get_friendly_name(), output.get_index()] = None
            elif name not in seen:
                seen.add(name)
                todo += node.outputs()
    if found:
        model.add_outputs(list(found))

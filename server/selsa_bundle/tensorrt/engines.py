"""From a bundle to TensorRT engines: built once per machine, then read from the cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from selsa_bundle.contract import ENGINES, EngineName
from selsa_bundle.errors import EngineError
from selsa_bundle.files.user_cache import user_cache
from selsa_bundle.manifest import EngineFile, Manifest, Variant
from selsa_bundle.runtime_base import RuntimeEngines
from selsa_bundle.runtimes.choice import Graphs
from selsa_bundle.runtimes.engine_cache import EngineCache, EngineKey
from selsa_bundle.runtimes.onnx import CPU, CUDA, TENSORRT, open_onnx
from selsa_bundle.tensorrt.builder import BUILD_FLAGS, BuildOptions, build_engine
from selsa_bundle.tensorrt.cuda_device import CudaDevice
from selsa_bundle.tensorrt.library import ComputeCapability, TensorRT, import_tensorrt
from selsa_bundle.tensorrt.profiles import Profile, frame_profiles, sequence_profiles
from selsa_bundle.tensorrt.runtime import Plan, TensorRtEngines

TensorRtPrecision = Literal["fp32", "fp16", "int8"]
NATIVE_GRAPHS: Final[dict[TensorRtPrecision, Variant]] = {
    "fp32": "native",
    "fp16": "native-fp16",
    "int8": "native-int8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRtOptions:
    """How engines are built and where they are kept.

    Attributes:
        cache: folder of built engines, writable by trusted users only; None: in the user's cache folder.
        max_batch: most frames in one call.
        workers: calls that may run at once on the GPU.
        say: gets one sentence per step.
        progress: called with a build's phase and its progress, 0..1.
    """

    cache: Path | None = None
    max_batch: int = 8
    workers: int = 2
    say: Callable[[str], None] = lambda _: None
    progress: Callable[[str, float], None] = lambda _phase, _share: None


def engine_profiles(manifest: Manifest, engine: EngineName, max_batch: int) -> Sequence[Profile]:
    """The profiles of one of a bundle's engines."""
    if engine == "frame":
        return frame_profiles(manifest.preprocess, max_batch)
    return sequence_profiles(manifest.dimensions, manifest.reference_frames, max_batch)


def cached_engine(
    folder: Path,
    manifest: Manifest,
    engine: EngineName,
    library: TensorRT,
    target: ComputeCapability,
    precision: TensorRtPrecision,
    options: TensorRtOptions,
    *,
    here: bool,
) -> tuple[Path, bytes]:
    """The engine for one kind of GPU with its file, built now unless the cache has it.

    Args:
        precision: which of the native graphs.
        here: whether the target is the GPU of this machine, where kernels can be measured.

    Raises:
        EngineError: the bundle has no such graph, or it cannot be built.
        ChecksumError: the graph is not the one the manifest describes.
    """
    graph = _graph(folder, manifest, engine, precision)
    # TensorRT-RTX compiles without the GPU; TensorRT measures kernels on it.
    ahead = bool(library.targets)
    if not ahead and not here:
        raise EngineError(f"{library.name} builds for the GPU of this machine only, not for {target}.")
    graph.verify(folder)
    profiles = engine_profiles(manifest, engine, options.max_batch)
    key = EngineKey(
        engine=engine,
        onnx_sha256=graph.sha256,
        library="tensorrt" if library.name == "tensorrt" else "tensorrt_rtx",
        version=library.version,
        processor=str(target),
        precision=precision,
        profiles=tuple(profile.describe() for profile in profiles),
        flags=BUILD_FLAGS,
    )
    engines = options.cache or user_cache() / "engines"
    timings = engines / f"{library.name}-{library.version}-{target}.timings"

    def built() -> bytes:
        by = f"{library.name} {library.version}"
        options.say(f"building the {engine} engine for {target} in {precision} ({by})")
        build = BuildOptions(
            target=target if ahead else None,
            profiles=profiles,
            timing_cache=None if ahead else timings,
            progress=options.progress,
        )
        return build_engine(library, folder / graph.file, graph.tensors, build)

    cache = EngineCache(engines, options.say)
    return cache.path(key), cache.get(key, built)


def _graph(folder: Path, manifest: Manifest, engine: EngineName, precision: TensorRtPrecision) -> EngineFile:
    pair = manifest.engines.get(NATIVE_GRAPHS[precision])
    if pair is None:
        again = (
            "selsa export --precision int8 --calibrate VIDEO"
            if precision == "int8"
            else "selsa export --native"
        )
        raise EngineError(
            f"{folder} has no native graphs in {precision}, from which TensorRT engines are built; it has "
            f"{', '.join(manifest.engines)}. Export it again with `{again}`."
        )
    return pair[engine]


def open_tensorrt(
    folder: Path, manifest: Manifest, precision: TensorRtPrecision, options: TensorRtOptions
) -> TensorRtEngines:
    """A bundle's engines on the first GPU of this machine; built now unless the cache has them.

    Raises:
        EngineError: there is no TensorRT, no driver or no GPU, or an engine cannot be built or loaded.
        ChecksumError: a graph is not the one the manifest describes.
    """
    library, device = import_tensorrt(), CudaDevice()
    target = device.compute_capability
    plans: dict[EngineName, Plan] = {}
    for name in ENGINES:
        _, plan = cached_engine(folder, manifest, name, library, target, precision, options, here=True)
        plans[name] = Plan(plan, engine_profiles(manifest, name, options.max_batch))
    return TensorRtEngines(
        library,
        plans,
        manifest.dimensions,
        device,
        precision=precision,
        workers=options.workers,
        say=options.say,
    )


def open_graphs(graphs: Graphs) -> RuntimeEngines:
    """TensorRT itself for native graphs; without them, ONNX Runtime's TensorRT provider.

    Raises:
        EngineError: as `open_tensorrt`.
    """
    if graphs.variant == "fp32" or graphs.precision == "bf16":
        return open_onnx(graphs, (TENSORRT, CUDA, CPU))
    asked = graphs.options
    options = TensorRtOptions(cache=asked.engine_cache, max_batch=asked.max_batch, say=asked.say)
    return open_tensorrt(graphs.folder, graphs.manifest, graphs.precision, options)

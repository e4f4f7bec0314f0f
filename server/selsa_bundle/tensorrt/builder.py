"""From a native ONNX graph to a TensorRT engine.

Networks are strongly typed: the graph states the precision, and there are no precision flags. float32 is
computed in float32: TensorFloat-32, which keeps ten bits, is off, since boxes and scores have tight bounds.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from selsa_bundle.contract import EngineContract
from selsa_bundle.errors import EngineError
from selsa_bundle.tensorrt.library import ComputeCapability, TensorRT
from selsa_bundle.tensorrt.log import build_log, build_progress
from selsa_bundle.tensorrt.profiles import Profile

# Part of a cached engine's key.
BUILD_FLAGS: Final = ("strongly-typed", "no-tf32")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How an engine is built.

    Attributes:
        target: the GPU to build for; None: the one in this machine.
        profiles: ranges of shapes; the runtime chooses one by its position.
        timing_cache: file of measured kernels, shared by builds on this machine; None: none. Kernels are
            measured only on a GPU.
        progress: called with the current phase and its progress, 0..1.
    """

    target: ComputeCapability | None
    profiles: Sequence[Profile]
    timing_cache: Path | None = None
    progress: Callable[[str, float], None] = lambda _phase, _share: None


def build_engine(library: TensorRT, onnx: Path, contract: EngineContract, options: BuildOptions) -> bytes:
    """Build the engine of one native graph.

    Args:
        onnx: the graph's file, already verified.
        contract: the tensors that the graph must have.

    Returns:
        The engine as TensorRT serialises it.

    Raises:
        EngineError: the graph cannot be parsed or built, or not for that GPU.
    """
    trt = library.module
    log = build_log(trt)
    builder = _created(trt.Builder(log), "a builder", log)
    network = _created(
        builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)), "a network", log
    )
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        raise EngineError(f"TensorRT {library.version} cannot parse {onnx}: {_parse_errors(parser)}")
    _check_tensors(onnx, network, contract)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.target is not None:
        _set_target(library, config, options.target)
    for profile in options.profiles:
        config.add_optimization_profile(_profile(builder, profile, contract, onnx))
    monitor = build_progress(trt, options.progress)
    config.progress_monitor = monitor
    cache = _attach_timing_cache(config, options.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT {library.version} cannot build {onnx}: {log.summary()}")
    if cache is not None and options.timing_cache is not None:
        _store_timing_cache(config, options.timing_cache)
    return bytes(plan)


def _created(thing: Any, what: str, log: Any) -> Any:
    if thing is None:
        raise EngineError(f"TensorRT cannot make {what}: {log.summary()}")
    return thing


def _parse_errors(parser: Any) -> str:
    found = [parser.get_error(i) for i in range(parser.num_errors)]
    return (
        "; ".join(f"{e.node_operator()} {e.node_name()}: {e.desc()}" for e in found[:3]) or "no reason given"
    )


def _check_tensors(onnx: Path, network: Any, contract: EngineContract) -> None:
    sides = (
        ("inputs", contract.inputs, [network.get_input(i) for i in range(network.num_inputs)]),
        ("outputs", contract.outputs, [network.get_output(i) for i in range(network.num_outputs)]),
    )
    for side, specs, tensors in sides:
        names = [tensor.name for tensor in tensors]
        if names != [spec.name for spec in specs]:
            allowed = ", ".join(spec.name for spec in specs)
            raise EngineError(f"{onnx}: {side} are ({', '.join(names)}), the tensor contract has ({allowed})")


def _set_target(library: TensorRT, config: Any, target: ComputeCapability) -> None:
    """Raises EngineError if this TensorRT cannot build for that GPU."""
    targets = library.targets
    if target not in targets:
        allowed = ", ".join(str(each) for each in targets)
        reason = f"builds for {allowed}" if targets else "builds for the GPU of this machine only"
        raise EngineError(f"{library.name} {library.version} cannot build for {target}: it {reason}.")
    config.num_compute_capabilities = 1
    capability = getattr(library.module.ComputeCapability, f"SM{target.major}{target.minor}")
    if not config.set_compute_capability(capability, 0):
        raise EngineError(f"{library.name} {library.version} refused to build for {target}.")


def _profile(builder: Any, profile: Profile, contract: EngineContract, onnx: Path) -> Any:
    made = builder.create_optimization_profile()
    for spec in contract.inputs:
        made.set_shape(spec.name, *profile.shapes(spec))
    if not made:
        raise EngineError(f"{onnx}: the profile {profile.name} is not allowed.")
    return made


def _attach_timing_cache(config: Any, path: Path | None) -> Any:
    """Reuse kernel measurements; a cache of another TensorRT or GPU is replaced by an empty one."""
    if path is None:
        return None
    stored = b""
    with suppress(OSError):
        stored = path.read_bytes()
    cache = config.create_timing_cache(stored) or config.create_timing_cache(b"")
    if cache is not None and not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _store_timing_cache(config: Any, path: Path) -> None:
    """Write it completely or not at all. A full disk is ignored: only the next build is slower."""
    part = path.with_name(f".{path.name}.part")
    with suppress(OSError):
        part.write_bytes(bytes(config.get_timing_cache().serialize()))
        part.replace(path)

"""From a bundle's folder to engines that run: the one place that opens a runtime."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from selsa_bundle.engine import Engines
from selsa_bundle.errors import EngineError
from selsa_bundle.gate.check import GateDifference, check_gate
from selsa_bundle.gate.gate import Gate, read_gate
from selsa_bundle.manifest import Manifest, Variant, read_manifest_bytes
from selsa_bundle.precision_report import PrecisionReport, ProviderKind, read_precisions
from selsa_bundle.runtimes.choice import Choice, EngineOptions, choose
from selsa_bundle.runtimes.host import Host
from selsa_bundle.runtimes.onnx import CPU, CUDA, TENSORRT, OnnxEngines, RuntimeOptions
from selsa_bundle.tolerance import USUAL_TOLERANCES

# What every bundle was compared with torch on.
FP32_ON_CPU: Final = EngineOptions(provider="cpu", precision="fp32")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBundle:
    """A bundle that passed every check, with its engines ready to run.

    Attributes:
        manifest: what the bundle says of itself.
        digest: `sha256:` + hex sha256 of the manifest's bytes; it covers the engines through their checksums.
        engines: the two engines.
        variant: which of the bundle's graphs they are.
        gate: frames with the outputs they must have; None: the bundle has none.
        why: why the engines run on what they run on, one sentence.
    """

    manifest: Manifest
    digest: str
    engines: Engines
    variant: Variant = "fp32"
    gate: Gate | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graphs:
    """What a runtime is opened with."""

    folder: Path
    manifest: Manifest
    choice: Choice
    options: EngineOptions

    @property
    def frame(self) -> Path:
        return self.folder / self.manifest.engines[self.choice.variant]["frame"].file

    @property
    def sequence(self) -> Path:
        return self.folder / self.manifest.engines[self.choice.variant]["sequence"].file


def verify_bundle(folder: Path) -> tuple[Manifest, str]:
    """Check a bundle's manifest and files without loading its engines; returns manifest and digest.

    Raises:
        ManifestError: the manifest is missing or not allowed.
        ChecksumError: a file is missing or not the one the manifest describes.
    """
    manifest, digest = _read_manifest(folder)
    manifest.verify_files(folder)
    return manifest, digest


def load_engines(folder: Path, options: EngineOptions = FP32_ON_CPU) -> LoadedBundle:
    """Check the bundle in `folder`, choose a runtime and load the engines that it takes.

    Raises:
        ManifestError: the manifest, the gate or the report of precisions is missing or not allowed.
        ChoiceError: the provider or precision asked for cannot be had.
        ChecksumError: a file is missing or not the one the manifest describes.
        ContractError: an engine's tensors are not those of the tensor contract.
        EngineError: the runtime cannot load an engine, or runs it elsewhere than it was asked to.
    """
    manifest, digest = _read_manifest(folder)
    choice = choose(options, tuple(manifest.engines), _precisions(folder, manifest), Host.here())
    # What does not run is not read: graphs for a GPU are hundreds of megabytes.
    manifest.verify_files(folder, (choice.variant,))
    gate = None if manifest.gate is None else read_gate(folder / manifest.gate.file, manifest.dimensions)
    graphs = _Graphs(folder=folder, manifest=manifest, choice=choice, options=options)
    engines = _OPEN[choice.provider](graphs)
    return LoadedBundle(
        manifest=manifest,
        digest=digest,
        engines=engines,
        variant=choice.variant,
        gate=gate,
        why=choice.why,
    )


def prove_engines(bundle: LoadedBundle) -> GateDifference | None:
    """Run the bundle's test frames and compare; None where it has none.

    Raises:
        GateError: the outputs lie outside the tolerance of the precision; the message names the tensors.
        EngineError: an engine failed.
    """
    gate, described = bundle.gate, bundle.manifest.gate
    if gate is None or described is None:
        return None
    precision = bundle.engines.info.precision
    allowed = described.tolerances.get(precision) or USUAL_TOLERANCES[precision]
    return check_gate(bundle.engines, gate, allowed)


def _read_manifest(folder: Path) -> tuple[Manifest, str]:
    raw = read_manifest_bytes(folder)
    return Manifest.parse(raw, folder), f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _precisions(folder: Path, manifest: Manifest) -> PrecisionReport | None:
    stored = manifest.precisions
    if stored is None:
        return None
    # It decides which graphs run, so it is looked at before they are.
    stored.verify(folder)
    return read_precisions(folder / stored.file)


# One function per provider; what it imports is imported when that provider is chosen. ----------------------


def _open_cpu(graphs: _Graphs) -> Engines:
    return _onnx(graphs, (CPU,))


def _open_cuda(graphs: _Graphs) -> Engines:
    return _onnx(graphs, (CUDA, CPU))


def _open_openvino(graphs: _Graphs) -> Engines:
    from selsa_bundle.runtimes.openvino import OpenVinoEngines

    return OpenVinoEngines(
        graphs.frame,
        graphs.sequence,
        graphs.manifest.dimensions,
        precision=graphs.choice.precision,
        threads=graphs.options.threads,
    )


def _open_tensorrt(graphs: _Graphs) -> Engines:
    """TensorRT itself on native graphs; a bundle without them goes through ONNX Runtime's provider of it."""
    precision = graphs.choice.precision
    if graphs.choice.variant == "fp32" or precision == "bf16":
        return _onnx(graphs, (TENSORRT, CUDA, CPU))
    from selsa_bundle.tensorrt.engines import TensorRtOptions, open_tensorrt

    options = graphs.options
    settings = TensorRtOptions(cache=options.engine_cache, max_batch=options.max_batch, say=options.say)
    return open_tensorrt(graphs.folder, graphs.manifest, precision, settings)


def _onnx(graphs: _Graphs, providers: tuple[str, ...]) -> Engines:
    options = RuntimeOptions(
        threads=graphs.options.threads, providers=providers, precision=graphs.choice.precision
    )
    engines = OnnxEngines(graphs.frame, graphs.sequence, graphs.manifest.dimensions, options)
    found = engines.info.provider
    if found == providers[0] or (graphs.options.allow_cpu and found == CPU):
        return engines
    engines.close()
    raise EngineError(
        f"The engines run on {found} although {providers[0]} was asked for; repair its installation, or give "
        "--allow-cpu to run on the CPU."
    )


_OPEN: Final[dict[ProviderKind, Callable[[_Graphs], Engines]]] = {
    "cpu": _open_cpu,
    "cuda": _open_cuda,
    "openvino": _open_openvino,
    "tensorrt": _open_tensorrt,
}

"""From a bundle's folder to engines that run; only this module opens a runtime."""

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from selsa_bundle.engine import Engines
from selsa_bundle.gate.gate import Gate, read_gate
from selsa_bundle.manifest import Manifest, Variant, read_manifest_bytes
from selsa_bundle.precision_report import PrecisionReport, read_precisions
from selsa_bundle.providers import PROVIDERS
from selsa_bundle.runtimes.choice import Choice, EngineOptions, Graphs, choose
from selsa_bundle.runtimes.host import Host
from selsa_bundle.runtimes.starting import started
from selsa_bundle.tolerance import USUAL_TOLERANCES

if TYPE_CHECKING:
    from selsa_bundle.gate.check import GateDifference

# What the exporter compares with torch.
FP32_ON_CPU: Final = EngineOptions(provider="cpu", precision="fp32")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBundle:
    """A bundle that passed every check, with its engines ready to run.

    Attributes:
        digest: `sha256:` + hex sha256 of the manifest's bytes; it covers the engines through their checksums.
            With another `EngineOptions.size`, of the manifest with that size.
        variant: which of the bundle's graphs they are.
        gate: test frames with their outputs; None: the bundle has none.
        why: the reason for the provider and precision, one sentence.
    """

    manifest: Manifest
    digest: str
    engines: Engines
    variant: Variant = "fp32"
    gate: Gate | None = None
    why: str = ""


def verify_bundle(folder: Path) -> tuple[Manifest, str]:
    """Check a bundle's manifest and files without loading its engines; returns manifest and digest.

    Raises:
        ManifestError: the manifest is missing or not allowed.
        ChecksumError: a file is missing or not the one the manifest describes.
    """
    manifest, digest = _read_manifest(folder)
    manifest.verify_files(folder)
    return manifest, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """The engines of a bundle that were chosen to run.

    Attributes:
        files: waits until the bundle's files are verified; returns its gate.
        open: of the runtime, which is imported.
    """

    folder: Path
    manifest: Manifest
    digest: str
    choice: Choice
    options: EngineOptions
    files: Callable[[], Gate | None]
    open: Callable[[Graphs], Engines]

    def load(self) -> LoadedBundle:
        """Load the engines, once their files are verified.

        Raises:
            ManifestError: the gate is missing or not allowed.
            ChoiceError: the bundle does not have the requested size.
            ChecksumError: a file is missing or not the one the manifest describes.
            ContractError: an engine's tensors are not those of the tensor contract.
            EngineError: the runtime cannot load an engine, or runs it on another provider.
        """
        manifest, choice, options = self.manifest, self.choice, self.options
        gate = self.files()
        run = manifest.at_size(options.size) if options.size else manifest
        graphs = Graphs(
            folder=self.folder,
            manifest=manifest,
            variant=choice.variant,
            precision=choice.precision,
            options=options,
        )
        return LoadedBundle(
            manifest=run,
            digest=self.digest if run == manifest else run.digest(),
            # For the bundle's own size, which the gate's frames have.
            engines=self.open(graphs),
            variant=choice.variant,
            gate=gate,
            why=choice.why,
        )


def plan_engines(folder: Path, options: EngineOptions = FP32_ON_CPU) -> EnginePlan:
    """Choose how to run the bundle in `folder`, and import the runtime while a thread verifies its files.

    Imports hold Python's lock, loading engines does so hardly ever. A process that starts therefore plans
    first, and imports the rest of the program while another thread loads.

    Raises:
        ManifestError: the manifest or the report of precisions is missing or not allowed.
        ChoiceError: the bundle or this machine does not have the requested provider or precision.
        ChecksumError: the report is missing or not the one the manifest describes.
    """
    manifest, digest = _read_manifest(folder)
    report, bits = _precisions(folder, manifest), manifest.weight_bits or 8
    choice = choose(options, tuple(manifest.engines), report, Host.here(), weight_bits=bits)
    files = started(partial(_verified, folder, manifest, choice.variant))
    module, _, function = PROVIDERS[choice.provider].opener.partition(":")
    return EnginePlan(
        folder=folder,
        manifest=manifest,
        digest=digest,
        choice=choice,
        options=options,
        files=files,
        open=getattr(importlib.import_module(module), function),
    )


def load_engines(folder: Path, options: EngineOptions = FP32_ON_CPU) -> LoadedBundle:
    """Check the bundle in `folder`, choose a runtime and load the engines.

    Raises:
        BundleError: as `plan_engines` and `EnginePlan.load`.
    """
    return plan_engines(folder, options).load()


def prove_engines(bundle: LoadedBundle) -> "GateDifference | None":
    """Run the bundle's test frames and compare; None if it has none.

    Raises:
        GateError: the outputs lie outside the tolerance of the precision; the message names the tensors.
        EngineError: an engine failed.
    """
    gate, described = bundle.gate, bundle.manifest.gate
    if gate is None or described is None:
        return None
    # Imported after the engines are loaded, which starts sooner.
    from selsa_bundle.gate.check import check_gate

    precision = bundle.engines.info.precision
    allowed = described.tolerances.get(precision) or USUAL_TOLERANCES[precision]
    return check_gate(bundle.engines, gate, allowed)


def _verified(folder: Path, manifest: Manifest, variant: Variant) -> Gate | None:
    # Only the graphs that run are read: those for a GPU are hundreds of megabytes.
    manifest.verify_files(folder, (variant,))
    return None if manifest.gate is None else read_gate(folder / manifest.gate.file, manifest.dimensions)


def _read_manifest(folder: Path) -> tuple[Manifest, str]:
    raw = read_manifest_bytes(folder)
    return Manifest.parse(raw, folder), f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _precisions(folder: Path, manifest: Manifest) -> PrecisionReport | None:
    stored = manifest.precisions
    if stored is None:
        return None
    # The report decides which graphs run, so it is verified first.
    stored.verify(folder)
    return read_precisions(folder / stored.file)

"""From a bundle's folder to engines that run: the one place that chooses a runtime."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from selsa_bundle.engine import Engines
from selsa_bundle.manifest import Manifest, read_manifest_bytes
from selsa_bundle.runtime_onnx import OnnxEngines, RuntimeOptions

__all__ = ["LoadedBundle", "load_engines", "verify_bundle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBundle:
    """A bundle that passed every check, with its engines ready to run.

    Attributes:
        manifest: what the bundle says of itself.
        digest: `sha256:` + hex sha256 of the manifest's bytes; it covers the engines through their checksums.
        engines: the two engines.
    """

    manifest: Manifest
    digest: str
    engines: Engines


def verify_bundle(folder: Path) -> tuple[Manifest, str]:
    """Check a bundle's manifest and files without loading its engines; returns manifest and digest.

    Raises:
        ManifestError: the manifest is missing or not allowed.
        ChecksumError: an engine file is missing or not the one the manifest describes.
    """
    raw = read_manifest_bytes(folder)
    manifest = Manifest.parse(raw, folder)
    manifest.verify_files(folder)
    return manifest, f"sha256:{hashlib.sha256(raw).hexdigest()}"


def load_engines(folder: Path, options: RuntimeOptions | None = None) -> LoadedBundle:
    """Check the bundle in `folder` and load its engines.

    Raises:
        ManifestError: the manifest is missing or not allowed.
        ChecksumError: an engine file is missing or not the one the manifest describes.
        ContractError: an engine's tensors are not those of the tensor contract.
        EngineError: the runtime cannot load an engine.
    """
    manifest, digest = verify_bundle(folder)
    pair = manifest.engines["fp32"]
    engines = OnnxEngines(
        folder / pair["frame"].file,
        folder / pair["sequence"].file,
        manifest.dimensions,
        options or RuntimeOptions(),
    )
    return LoadedBundle(manifest=manifest, digest=digest, engines=engines)

"""A bundle with more precisions, out of one that is there; the old one stays as it is."""

import shutil
from collections.abc import Callable
from pathlib import Path

from selsa_bundle.files.new_folder import new_folder
from selsa_bundle.manifest import MANIFEST_NAME, Manifest
from selsa_bundle.precision_report import PrecisionReport
from selsa_bundle.runtimes.load import FP32_ON_CPU, load_engines, verify_bundle
from selsa_export.parity.gate_frames import write_gate_file
from selsa_export.precision.bundle import add_precisions
from selsa_export.precision.plan import PrecisionPlan

DERIVED = "the bundle's fp32 engines in ONNX Runtime, whose agreement with torch parity.json reports"


def quantize_bundle(
    bundle: Path,
    folder: Path,
    plan: PrecisionPlan | None,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> PrecisionReport | None:
    """Copy a bundle to `folder` and add what is planned; without a plan, the gate that an older one lacks.

    Raises:
        BundleError: the bundle cannot be used.
        ExportError: as the plan's parts say.
        TargetTakenError: something is at `folder` that may not be replaced.
        OSError: the folder cannot be written.
    """
    manifest, _ = verify_bundle(bundle)
    with new_folder(folder, marker=MANIFEST_NAME, overwrite=overwrite) as part:
        for name in _files(manifest):
            shutil.copyfile(bundle / name, part / name)
        if manifest.gate is None:
            engines = load_engines(part, FP32_ON_CPU).engines
            gate = write_gate_file(part, engines, manifest.preprocess, DERIVED)
            manifest = manifest.model_copy(update={"gate": gate})
            (part / MANIFEST_NAME).write_bytes(manifest.to_json())
        return None if plan is None else add_precisions(part, plan, say)


def _files(manifest: Manifest) -> set[str]:
    """What the manifest names, and itself: nothing else of the folder is part of the bundle."""
    graphs = {engine.file for pair in manifest.engines.values() for engine in pair.values()}
    others = (manifest.parity, manifest.gate, manifest.precisions, manifest.evaluation)
    return {MANIFEST_NAME, *graphs, *(each.file for each in others if each is not None)}

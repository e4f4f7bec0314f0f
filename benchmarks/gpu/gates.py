"""How far both engines on a provider are from torch on the bundle's test frames, graph by graph.

    python -m benchmarks.gpu.gates BUNDLE --provider cuda --json FILE

Runs every fp32 and fp16 graph of the bundle, on CUDA with TensorFloat-32 off and on.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selsa_bundle.default_bundle import bundle_folder
from selsa_bundle.errors import BundleError
from selsa_bundle.gate.check import compare_outputs
from selsa_bundle.gate.gate import Gate, read_gate, run_gate
from selsa_bundle.manifest import Manifest, Variant
from selsa_bundle.runtimes.onnx import CPU, CUDA, FULL_FP32, OnnxEngines, RuntimeOptions
from selsa_bundle.tolerance import USUAL_TOLERANCES, Precision

GRAPHS: dict[Variant, Precision] = {"fp32": "fp32", "native": "fp32", "native-fp16": "fp16"}
MODES: dict[str, list[tuple[str, tuple[str, ...], dict[str, str]]]] = {
    "cuda": [("off", (CUDA, CPU), dict(FULL_FP32)), ("on", (CUDA, CPU), {"use_tf32": "1"})],
    "cpu": [("none", (CPU,), {})],
}


def compare(
    bundle: Path, manifest: Manifest, gate: Gate, variant: Variant, options: RuntimeOptions
) -> dict[str, Any]:
    """The differences of one graph, and which of them are not allowed."""
    files = manifest.engines[variant]
    try:
        engines = OnnxEngines(
            bundle / files["frame"].file, bundle / files["sequence"].file, manifest.dimensions, options
        )
        allowed = USUAL_TOLERANCES[options.precision]
        outputs = run_gate(engines, gate.frames, gate.image_size, gate.scale_factor)
        found = compare_outputs(gate, outputs, allowed.partner_iou, engines.dimensions.tensors)
        ran_on = engines.info.provider
        engines.close()
    except BundleError as error:
        return {"error": " ".join(str(error).split())}
    return {
        "ran_on": ran_on,
        "differences": {**asdict(found), "features": dict(found.features)},
        "failures": found.failures(allowed, len(gate.frames)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=bundle_folder)
    parser.add_argument("--provider", choices=list(MODES), required=True)
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    manifest = Manifest.read(given.bundle)
    if manifest.gate is None:
        raise SystemExit(f"{given.bundle} has no test frames")
    gate = read_gate(given.bundle / manifest.gate.file, manifest.dimensions)
    rows: list[dict[str, Any]] = []
    for variant, precision in GRAPHS.items():
        for tf32, providers, settings in MODES[given.provider]:
            if variant not in manifest.engines:
                continue
            options = RuntimeOptions(providers=providers, precision=precision, provider_options=settings)
            found = compare(given.bundle, manifest, gate, variant, options)
            rows.append({"graph": variant, "precision": precision, "tf32": tf32, **found})
            given.json.write_text(json.dumps({"model": manifest.name, "rows": rows}), encoding="utf-8")


if __name__ == "__main__":
    main()

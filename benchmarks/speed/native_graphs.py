"""What the native graphs, which TensorRT engines are built from, cost in ONNX Runtime beside its own.

    python -m benchmarks.speed.native_graphs BUNDLE [--video FILE] [--batch N ...] [--rounds N] [--json FILE]

Milliseconds of processor time of both engines on the CPU, as a Markdown table. In a round both kinds run once
for each engine and batch, the order changing from round to round; the ratio is taken within a round. If the
native graphs cost nothing, one set of graphs would do for every runtime.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.report.output import write_json
from selsa_bundle.default_bundle import bundle_folder, synthetic_video
from selsa_bundle.engine import ReferenceBank
from selsa_bundle.manifest import Manifest, Variant
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions
from selsa_server.bench.machine import Machine
from selsa_server.bench.report import Spread

KINDS: tuple[Variant, Variant] = ("fp32", "native")


def prepared(manifest: Manifest, video: Path, count: int) -> list[PreparedFrame]:
    """The first frames of a video, again from the first one if it is shorter."""
    capture, frames = cv2.VideoCapture(str(video)), []
    while len(frames) < count and (found := capture.read())[0]:
        frames.append(np.ascontiguousarray(found[1][..., ::-1]))
    if not frames:
        raise SystemExit(f"{video}: no frame can be read from it")
    return [manifest.preprocess.prepare(frames[i % len(frames)]) for i in range(count)]


def calls(
    engines: OnnxEngines, frames: list[PreparedFrame], references: int
) -> dict[str, Callable[[], object]]:
    """One call of each engine on all of the frames."""
    pixels = np.stack([frame.pixels for frame in frames])
    sizes = np.array([frame.image_size for frame in frames], np.int64)
    scales = np.array([frame.scale_factor for frame in frames], np.float32)
    features = engines.run_frames(pixels, sizes)
    rows = [i % len(frames) for i in range(max(1, references))]
    bank = ReferenceBank.of([features[i : i + 1] for i in rows], engines.dimensions)
    return {
        "frame": lambda: engines.run_frames(pixels, sizes),
        "sequence": lambda: engines.run_sequence(features, sizes, scales, bank),
    }


def milliseconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return (time.process_time() - started) * 1e3


def taken(
    engines: dict[Variant, OnnxEngines], manifest: Manifest, frames: list[PreparedFrame], rounds: int
) -> dict[str, dict[Variant, list[float]]]:
    """Milliseconds by engine and kind of graph, a value for each round; the first one warms up."""
    each = {kind: calls(engines[kind], frames, manifest.reference_frames) for kind in KINDS}
    spent: dict[str, dict[Variant, list[float]]] = {
        engine: {kind: [] for kind in KINDS} for engine in ("frame", "sequence")
    }
    for number in range(rounds + 1):
        for engine, found in spent.items():
            for kind in KINDS[:: (-1) ** number]:
                value = milliseconds(each[kind][engine])
                if number:
                    found[kind].append(value)
    return spent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=bundle_folder)
    parser.add_argument("--video", type=Path, default=synthetic_video())
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def opened(bundle: Path, manifest: Manifest, kind: Variant, threads: int) -> OnnxEngines:
    if kind not in manifest.engines:
        raise SystemExit(f"{bundle} has no {kind} graphs; export it with --native fp32")
    files = (bundle / manifest.engines[kind][engine].file for engine in ("frame", "sequence"))
    return OnnxEngines(*files, manifest.dimensions, RuntimeOptions(threads=threads))


def main() -> None:
    options = arguments()
    machine, manifest = Machine.here(), Manifest.read(options.bundle)
    engines = {kind: opened(options.bundle, manifest, kind, options.threads) for kind in KINDS}
    print(f"| {manifest.name}, processor ms | B | for ONNX Runtime | native | native / own |")
    print("|---|---|---|---|---|")
    rows = []
    for batch in options.batch:
        frames = prepared(manifest, options.video, batch)
        for engine, found in taken(engines, manifest, frames, options.rounds).items():
            own, native = (Spread.of(found[kind]) for kind in KINDS)
            ratio = Spread.of([b / a for a, b in zip(*found.values(), strict=True)])
            spread = f"{ratio.median:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})"
            print(f"| {engine} engine | {batch} | {own.median:.1f} | {native.median:.1f} | {spread} |")
            rows.append({"engine": engine, "batch": batch, "own": own, "native": native, "ratio": ratio})
    print(f"\nprocesses that wanted to run when it began: {machine.busy}")
    if options.json is not None:
        write_json(options.json, {"machine": machine, "model": manifest.name, "rows": rows})


if __name__ == "__main__":
    main()

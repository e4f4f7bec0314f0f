"""What it costs that ONNX Runtime's waiting threads sleep, and what it costs that they spin.

    python -m benchmarks.speed.waiting_threads [BUNDLE] [--video FILE] [--rounds N] [--json FILE]

Each round runs the pipeline over the video once with each, in turn, on engines that are opened for it and
closed after it: threads that spin would disturb the others. Prints milliseconds a frame and the ratio.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.report.output import write_json
from selsa_bundle.default_bundle import synthetic_bundle, synthetic_video
from selsa_bundle.manifest import Manifest
from selsa_bundle.runtimes.load import load_engines
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions
from selsa_server.bench.machine import Machine
from selsa_server.bench.report import Spread
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams, SummaryRecord


def milliseconds(bundle: Path, video: Path, *, spin: bool) -> float:
    """Of a frame in the pipeline; the first run over the video is not counted."""
    loaded = load_engines(bundle)
    loaded.engines.close()
    files = loaded.manifest.engines["fp32"]
    engines = OnnxEngines(
        bundle / files["frame"].file,
        bundle / files["sequence"].file,
        loaded.engines.dimensions,
        RuntimeOptions(spin=spin),
    )
    pipeline = DetectionPipeline(replace(loaded, engines=engines))
    seconds = 0.0
    for _ in range(2):
        begun = time.perf_counter()
        last = list(pipeline.run(video, DetectParams()))[-1]
        seconds = time.perf_counter() - begun
    engines.close()
    assert isinstance(last, SummaryRecord)
    return seconds / last.emitted * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", default=synthetic_bundle())
    parser.add_argument("--video", type=Path, default=synthetic_video())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    machine = Machine.here()
    print("round  sleeping  spinning  spinning / sleeping")
    rounds = []
    for number in range(1, options.rounds + 1):
        pair = [milliseconds(options.bundle, options.video, spin=spin) for spin in (False, True)]
        rounds.append(pair)
        print(f"{number:5}  {pair[0]:8.1f}  {pair[1]:8.1f}  {pair[1] / pair[0]:19.2f}", flush=True)
    ratio = Spread.of([spinning / sleeping for sleeping, spinning in rounds])
    print(f"median {ratio.median:.2f}, {ratio.lowest:.2f} to {ratio.highest:.2f}")
    if options.json is not None:
        figures = {
            "machine": machine,
            "model": Manifest.read(options.bundle).name,
            "sleeping": Spread.of([sleeping / 1e3 for sleeping, _ in rounds]),
            "spinning": Spread.of([spinning / 1e3 for _, spinning in rounds]),
            "ratio": ratio,
        }
        write_json(options.json, figures)


if __name__ == "__main__":
    main()

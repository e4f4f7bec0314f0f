"""int8 frame engines beside fp32 on this processor, with weights of 7 bits and of 8.

    python -m benchmarks.speed.int8_weights [BUNDLE ...] [--r50] [--rounds N] [--threads N] [--json FILE]

Without VNNI, sums of integer products saturate, unless weights have 7 bits or ONNX Runtime gets the option
`session.x64quantprecision`. This measures both on the processor that runs it: milliseconds of processor time
for one frame, in turn within each round, and fp32 / int8 within the round. All layers that may be int8 are,
so a bundle whose report keeps blocks in fp32 is slower. Without bundles, both packaged ones are measured;
`--r50` adds an untrained R-50.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.report.output import write_json
from benchmarks.speed.beside_pytorch import make_model
from benchmarks.speed.native_graphs import milliseconds, prepared
from selsa_bundle.default_bundle import bundle_folder, default_bundle, sample_video, synthetic_bundle
from selsa_bundle.manifest import Manifest
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.host import Host
from selsa_export.int8.graph import LARGEST_WEIGHT, quantize_graph, tensors_to_calibrate
from selsa_export.int8.layers import layers_of, load_graph
from selsa_export.int8.ranges import calibrate
from selsa_server.bench.machine import Machine
from selsa_server.bench.report import Spread

CALIBRATION_FRAMES = 4
# Name -> largest integer weight (None: the fp32 graph), and whether the option is given.
WAYS: dict[str, tuple[int | None, bool]] = {
    "fp32": (None, False),
    "7 bits": (LARGEST_WEIGHT, False),
    "8 bits, x64quantprecision": (127, True),
}


Call = Callable[[], object]


def in_onnx_runtime(model: Any, feeds: dict[str, Any], threads: int, *, exact: bool) -> Call:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if exact:
        settings.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def in_openvino(model: Any, feeds: dict[str, Any], threads: int) -> Call:
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": str(threads), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer(feeds)


def ways_of(folder: Path, frames: list[PreparedFrame], threads: int) -> dict[str, Call]:
    """Every way to run a bundle's frame engine, by name."""
    model = load_graph(folder / Manifest.read(folder).engines["fp32"]["frame"].file)
    layers = layers_of(model)
    ranges = calibrate(model, tensors_to_calibrate(model, layers), (), frames).ranges
    nodes = {layer.node for layer in layers}
    graphs = {
        largest: model if largest is None else quantize_graph(model, nodes, ranges, largest)
        for largest, _ in WAYS.values()
    }
    frame = frames[-1]
    feeds = {"frames": frame.pixels[None], "image_size": np.array([frame.image_size], np.int64)}
    found = {
        f"ONNX Runtime, {name}": in_onnx_runtime(graphs[largest], feeds, threads, exact=exact)
        for name, (largest, exact) in WAYS.items()
    }
    if Host.here().lacks("openvino") is None:
        for name, largest in (("fp32", None), ("7 bits", LARGEST_WEIGHT)):
            found[f"OpenVINO, {name}"] = in_openvino(graphs[largest], feeds, threads)
    return found


def measure(ways: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Milliseconds by name, a value for each round, after one call each to warm up."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, call in ways.items():
            took = milliseconds(call)
            if number:
                spent[name].append(took)
    return spent


def print_table(name: str, spent: dict[str, list[float]]) -> None:
    base = spent["ONNX Runtime, fp32"]
    print(f"\n{name}\n\n| frame engine | ms of processor time | as fast as fp32 |\n|---|---|---|")
    for way, taken in spent.items():
        ratio = Spread.of([b / t for b, t in zip(base, taken, strict=True)])
        print(
            f"| {way} | {Spread.of(taken).median:.1f} | "
            f"{ratio.median:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f}) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundles", type=bundle_folder, nargs="*")
    parser.add_argument("--r50", action="store_true", help="also an untrained R-50")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="of the engines")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    machine = Machine.here()
    print(machine)
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        bundles = given.bundles or [default_bundle(), synthetic_bundle()]
        if given.r50:
            bundles.append(make_model(Path(scratch), "r50-dc5")[1])
        for folder in bundles:
            manifest = Manifest.read(folder)
            frames = prepared(manifest, sample_video(), CALIBRATION_FRAMES)
            spent = measure(ways_of(folder, frames, given.threads), given.rounds)
            print_table(manifest.name, spent)
            results[manifest.name] = spent
    if given.json is not None:
        write_json(given.json, {"machine": machine, "milliseconds": results})


if __name__ == "__main__":
    main()

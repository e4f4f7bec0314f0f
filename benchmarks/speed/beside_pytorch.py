"""Seconds per key frame, side by side in one process: this, plain PyTorch, and torchvision's Faster R-CNN.

    python -m benchmarks.speed.beside_pytorch [--checkpoint FOLDER --bundle FOLDER]
        [--fewer-proposals FOLDER] [--precision fp32,bf16,int8] [--rounds 5] [--json FILE] [--plot FILE.png]

Everybody gets the same video, decodes and resizes it in the same way, and takes turns within each round, so
that ratios hold on a machine that others use. Plain PyTorch is the same model with the same weights in the
structure of the published code (`published_form.py`); before anything is measured its detections are
compared with ours, and must be equal within what the tests of exactness allow. Without a checkpoint and its
bundle, an untrained R-50 is made and exported.
"""

import argparse
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.report.output import check_output, write_json
from benchmarks.report.picture import COLOURS, GREY, check_picture, new_figure, save_figure, tidy
from benchmarks.speed.contenders import Contender, Footage, Ours, Published, Torchvision
from selsa_bundle.errors import BundleError
from selsa_bundle.gate.agreement import Agreement, compare_detections
from selsa_bundle.manifest import Manifest
from selsa_bundle.runtimes.choice import options_named
from selsa_bundle.runtimes.load import FP32_ON_CPU, load_engines, prove_engines
from selsa_server.bench.machine import Machine
from selsa_server.bench.report import Spread
from selsa_server.bench.sample_video import write_sample_video
from selsa_server.bench.ways import BenchError
from selsa_server.pipeline.calls import CALLS
from selsa_server.schema.detect import FrameRecord
from selsa_training.checkpoint.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from selsa_training.checkpoint.detector import detector_of

# As the tests of exactness have it.
SCORE_FLOOR = 0.01
MOST_SCORE, MOST_CORNER, LEAST_IOU = 1e-3, 0.1, 0.99

Seconds = dict[str, list[float]]


def make_model(folder: Path, name: str) -> tuple[Path, Path]:
    """An untrained checkpoint, and the bundle of it."""
    from selsa_export.bundle import export_bundle
    from selsa_export.parity.frames import procedural_frames
    from selsa_training.checkpoint.untrained import untrained_tensors
    from selsa_training.config import CONFIGS

    checkpoint, bundle = folder / "checkpoint", folder / "bundle"
    say(f"making an untrained {name} and exporting it")
    save_checkpoint(checkpoint, CONFIGS[name], untrained_tensors(CONFIGS[name], 0), "untrained, seed 0")
    export_bundle(load_checkpoint(checkpoint), bundle, procedural_frames(2), "procedural clip")
    return checkpoint, bundle


def open_ours(bundle: Path, precisions: Sequence[str], footage: Footage, about: str = "") -> list[Ours]:
    """The pipeline in each precision that can be had; fp32 in ONNX Runtime is the first, and always there."""
    found = []
    for precision in precisions:
        say(f"loading ours in {precision}")
        try:
            options = FP32_ON_CPU if precision == "fp32" else options_named("auto", precision)
            loaded = load_engines(bundle, replace(options, calls=CALLS))
            prove_engines(loaded)
        except BundleError as error:
            say(f"not measured: {' '.join(str(error).split())}")
            continue
        found.append(Ours(loaded, footage, about))
    return found


def check_same_model(ours: Ours, published: Published) -> Agreement:
    """How far plain PyTorch's detections are from ours; ends the program if that is more than rounding."""
    agreement = Agreement()
    mine = ours.detections()
    for index, (boxes, scores, labels) in published.detections().items():
        theirs = boxes.numpy(), scores.numpy(), labels.numpy()
        compare_detections(
            agreement, theirs, _arrays(mine[index]), threshold=SCORE_FLOOR, iou_floor=LEAST_IOU
        )
    wrong = agreement.unmatched or agreement.extra or not agreement.compared
    if wrong or agreement.score > MOST_SCORE or agreement.corner > MOST_CORNER:
        raise SystemExit(f"error: plain PyTorch is not the same model: {agreement}")
    say(
        f"plain PyTorch's {agreement.compared} detections are ours: scores differ by {agreement.score:.1e}, "
        f"corners by {agreement.corner:.1e} px at the most"
    )
    return agreement


def _arrays(record: FrameRecord) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boxes = [[d.box.x1, d.box.y1, d.box.x2, d.box.y2] for d in record.detections]
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([d.score for d in record.detections], np.float32),
        np.array([d.class_id for d in record.detections], np.int64),
    )


def measure(contenders: Sequence[Contender], rounds: int) -> Seconds:
    """Seconds per key frame of each, a turn each in every round, after one to warm up."""
    seconds: Seconds = {each.name: [] for each in contenders}
    for number in range(rounds + 1):
        for each in contenders:
            took = each.seconds()
            say(f"{f'round {number} of {rounds}' if number else 'warming up'}: {each.name}: {took:.3f} s")
            if number:
                seconds[each.name].append(took)
    return seconds


def times_as_fast(base: Sequence[float], other: Sequence[float]) -> Spread:
    """`base / other` within each round."""
    return Spread.of([b / o for b, o in zip(base, other, strict=True)])


def print_results(seconds: Seconds, base: str, parts: dict[str, float]) -> None:
    width = max(map(len, seconds))
    print(f"{'':{width}}  seconds per key frame     as fast as plain PyTorch")
    for name, taken in seconds.items():
        spread, ratio = Spread.of(taken), times_as_fast(seconds[base], taken)
        took = f"{spread.median:6.3f} ({spread.lowest:.3f} to {spread.highest:.3f})"
        print(f"{name:{width}}  {took}    {ratio.median:5.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})")
    print(f"\n{base}, where its time goes:")
    for part, median in parts.items():
        print(f"  {part:30} {median:6.3f} s")


def plot(path: Path, seconds: Seconds, base: str, title: str) -> None:
    """Bars of seconds per key frame, each with how much faster than plain PyTorch it is."""
    figure = new_figure(8, 1.5 + 0.55 * len(seconds))
    axes = figure.subplots()
    for position, (name, taken) in enumerate(seconds.items()):
        spread, ratio = Spread.of(taken), times_as_fast(seconds[base], taken)
        whisker = [[spread.median - spread.lowest], [spread.highest - spread.median]]
        colour = COLOURS[0] if name.startswith("selsa") else GREY
        bar = axes.barh(
            position,
            spread.median,
            0.62,
            color=colour,
            xerr=whisker,
            error_kw={"elinewidth": 0.8, "capsize": 2, "ecolor": "#444444"},
        )
        compared = "" if name == base else f"   {ratio.median:.1f} times as fast"
        axes.bar_label(bar, [f"{spread.median:.2f} s{compared}"], padding=6, fontsize=9)
    axes.set_yticks(range(len(seconds)), labels=[textwrap.fill(name, 24) for name in seconds])
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.set_xlabel("seconds per key frame, from file to detections")
    figure.suptitle(title.replace("; ", "\n", 1), fontsize=9)
    tidy(axes, grid="x")
    save_figure(figure, path)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--bundle", type=Path, help="of that checkpoint; both or neither")
    parser.add_argument(
        "--fewer-proposals",
        type=Path,
        help="a bundle of the same checkpoint with other --reference-proposals, measured too;\n"
        "its detections differ from plain PyTorch's and are not compared",
    )
    parser.add_argument("--model", default="r50-dc5", help="made untrained where there is no checkpoint")
    parser.add_argument("--precision", default="fp32,bf16,int8", help="of ours, with commas between")
    parser.add_argument("--frames", type=int, default=16, help="of the video, which ours runs through")
    parser.add_argument("--size", default="1920x1080", help="of the video")
    parser.add_argument("--key-frames", type=int, default=2, help="that PyTorch is asked for in a round")
    parser.add_argument("--rounds", type=int, default=5, help="measured, after one to warm up")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if (given.checkpoint is None) != (given.bundle is None):
        parser.error("--checkpoint and --bundle belong together")
    try:
        if given.json is not None:
            check_output(given.json)
        if given.plot is not None:
            check_picture(given.plot)
    except BenchError as error:
        parser.error(str(error))
    given.precision = list(dict.fromkeys(["fp32", *given.precision.split(",")]))
    return given


def main() -> None:
    """The command line; see the module's docstring."""
    given, machine = arguments(), Machine.here()
    with tempfile.TemporaryDirectory() as folder:
        where, bundle = given.checkpoint, given.bundle
        if where is None:
            where, bundle = make_model(Path(folder), given.model)
        video = Path(folder) / "procedural.mp4"
        width, height = map(int, given.size.split("x"))
        write_sample_video(video, given.frames, width=width, height=height)
        compare(given, machine, load_checkpoint(where), bundle, video)


def compare(
    given: argparse.Namespace, machine: Machine, checkpoint: Checkpoint, bundle: Path, video: Path
) -> None:
    """Measure and report."""
    config = checkpoint.config
    key_frames = tuple(i * given.frames // given.key_frames for i in range(given.key_frames))
    footage = Footage(video, key_frames, config.preprocess)
    ours = open_ours(bundle, given.precision, footage)
    references = footage.references(config.reference_frames)
    say(f"plain PyTorch: feature maps of {len(references)} reference frames")
    published = Published(detector_of(checkpoint), footage, references)
    say("comparing plain PyTorch's detections with ours")
    agreement = check_same_model(ours[0], published)
    if given.fewer_proposals is not None:
        count = Manifest.read(given.fewer_proposals).dimensions.bank_proposals
        about = f", {count} reference proposals"
        ours += open_ours(given.fewer_proposals, given.precision, footage, about)
    contenders: list[Contender] = [published, Torchvision(footage, len(config.classes)), *ours]
    seconds = measure(contenders, given.rounds)
    padded = footage.prepared([0])[0].pixels.shape
    title = (
        f"{config.name} at {padded[1]}x{padded[0]}, {len(published.references)} reference frames; "
        f"{machine.processor}, {machine.cores} cores; medians and range of {given.rounds} rounds"
    )
    parts = published.median_parts(given.rounds)
    print(machine, title, "", sep="\n")
    print_results(seconds, published.name, parts)
    if given.json is not None:
        write_json(
            given.json,
            {
                "machine": machine,
                "command": sys.argv[1:],
                "what": title,
                "torch_threads": torch.get_num_threads(),
                "agreement": {k: v for k, v in asdict(agreement).items() if k != "score_differences"},
                "seconds": {name: Spread.of(taken) for name, taken in seconds.items()},
                "times_as_fast_as_plain_pytorch": {
                    name: times_as_fast(seconds[published.name], taken) for name, taken in seconds.items()
                },
                "published_parts": parts,
            },
        )
    if given.plot is not None:
        plot(given.plot, seconds, published.name, title)


if __name__ == "__main__":
    main()

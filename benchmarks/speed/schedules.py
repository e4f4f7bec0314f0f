"""Who uses which core when: the pipeline beside other schedules of the same work, and beside the ideal.

    python -m benchmarks.speed.schedules [--bundle FOLDER] [--video FILE] [--rounds 5] [--json FILE]

Detects on a 1080p file (or `--video`) with ONNX Runtime. Within a round each schedule has a turn:

- `in turn`: decode a batch, run the frame engine, run the sequence engine; nothing overlaps;
- `one call`: decoding overlaps with one engine call at a time;
- `two calls`: decoding overlaps with two engine calls of half the size;
- `two calls, half the cores each`: the same, each call on half the cores (what the pipeline does);
- `two calls, spinning`: the same on engines whose idle threads spin;
- `OpenCV loop`: what people write: cv2.VideoCapture and the two engines with spinning threads, ONNX Runtime's
  default, frame by frame.

The bank is filled before. `ideal` is the processor time of the parts on one thread each, over the cores.
Detections of all schedules must be equal within rounding, or the program ends with an error. With a model
whose frames shrink as they are decoded, the OpenCV loop has other pixels, and its matches are counted.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from benchmarks.report.output import write_json
from selsa_bundle.bank import SequenceBank
from selsa_bundle.default_bundle import bundle_folder
from selsa_bundle.engine import DetectionBatch, ReferenceBank
from selsa_bundle.gate.agreement import Agreement, compare_detections
from selsa_bundle.manifest import Manifest
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions
from selsa_bundle.runtimes.processor import usable_cores
from selsa_server.bench.machine import Machine
from selsa_server.bench.report import Spread
from selsa_server.bench.sample_video import write_sample_video
from selsa_server.malloc import keep_freed_memory
from selsa_server.pipeline.calls import in_order
from selsa_server.pipeline.prefetch import Prefetch
from selsa_server.run_context import Stopwatch
from selsa_server.schema.detect import DetectParams
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.index import index_video
from selsa_server.video.prepared import in_batches, prepare_frames
from selsa_server.video.selection import select_frames

BATCH, AHEAD = 4, 8
# Rounding of float32 sums in another order.
MOST_SCORE, MOST_CORNER = 1e-3, 0.1
# Of detections that are compared, and of two boxes of one object.
LEAST_SCORE, LEAST_IOU = 0.05, 0.9


class Work:
    """One video and one bundle, with engines of four kinds."""

    def __init__(self, bundle: Path, video: Path) -> None:
        self.manifest = manifest = Manifest.read(bundle)
        files = [bundle / manifest.engines["fp32"][name].file for name in ("frame", "sequence")]

        def opened(options: RuntimeOptions) -> OnnxEngines:
            return OnnxEngines(files[0], files[1], manifest.dimensions, options)

        self.shared = opened(RuntimeOptions())
        self.halved = opened(RuntimeOptions(threads=max(1, usable_cores() // 2)))
        self.single = opened(RuntimeOptions(threads=1))
        self.spinning = opened(RuntimeOptions(spin=True))
        self.video = video
        self.index = index_video(video, VideoLimits())
        references = select_frames(self.index, DetectParams(), manifest.reference_frames).references
        bank = SequenceBank(manifest.dimensions, references)
        for index, frame in zip(bank.wanted, self.decoded(bank.wanted), strict=True):
            bank.add(index, self.shared.run_frames(*arrays([frame])[:2])[0:1])
        self.bank: ReferenceBank = bank.bank

    def decoded(self, wanted: Sequence[int]) -> Iterator[PreparedFrame]:
        """Prepared frames, in this thread."""
        clock = Stopwatch()
        frames = prepare_frames(
            self.video, self.index, wanted, self.manifest.preprocess, clock, tolerant=False
        )
        return (frame.prepared for frame in frames if not isinstance(frame, CorruptFrame))

    def detect(self, engines: OnnxEngines, frames: Sequence[PreparedFrame]) -> DetectionBatch:
        """Both engines on key frames."""
        pixels, sizes, scales = arrays(frames)
        return engines.run_sequence(engines.run_frames(pixels, sizes), sizes, scales, self.bank)

    def in_turn(self) -> list[DetectionBatch]:
        frames = list_of(self.decoded(range(len(self.index))), BATCH)
        return [self.detect(self.shared, batch) for batch in frames]

    def overlapped(self, engines: OnnxEngines, calls: int) -> list[DetectionBatch]:
        clock, wanted = Stopwatch(), range(len(self.index))
        source = prepare_frames(
            self.video, self.index, wanted, self.manifest.preprocess, clock, tolerant=False
        )
        with Prefetch(source, AHEAD) as frames:
            batches = ([each.prepared for each in batch] for batch, _ in in_batches(frames, BATCH // calls))
            found = in_order(batches, lambda batch: self.detect(engines, batch), calls, lambda: False)
            return [detections for _, detections in found]

    def opencv_loop(self) -> list[DetectionBatch]:
        capture, found = cv2.VideoCapture(str(self.video)), []
        while (read := capture.read())[0]:
            frame = self.manifest.preprocess.prepare(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
            found.append(self.detect(self.spinning, [frame]))
        return found

    def ideal(self) -> float:
        """Seconds per frame: processor time of the parts on one thread, over the cores."""
        count = len(self.index)
        started = time.process_time()
        frames = list(self.decoded(range(count)))
        decoding = time.process_time() - started
        started = time.process_time()
        for batch in list_of(iter(frames), BATCH // 2):
            self.detect(self.single, batch)
        return (decoding + time.process_time() - started) / count / usable_cores()


def arrays(frames: Sequence[PreparedFrame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.stack([frame.pixels for frame in frames]),
        np.array([frame.image_size for frame in frames], np.int64),
        np.array([frame.scale_factor for frame in frames], np.float32),
    )


def list_of(frames: Iterator[PreparedFrame], size: int) -> Iterator[list[PreparedFrame]]:
    batch: list[PreparedFrame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def agreement(found: list[DetectionBatch], first: list[DetectionBatch]) -> Agreement:
    """How far detections from LEAST_SCORE on agree with those of the first schedule."""

    def rows(batches: list[DetectionBatch]) -> list[tuple[np.ndarray, ...]]:
        return [batch.of(i) for batch in batches for i in range(len(batch.count))]

    agreed = Agreement()
    for mine, theirs in zip(rows(found), rows(first), strict=True):
        compare_detections(agreed, theirs, mine, threshold=LEAST_SCORE, iou_floor=LEAST_IOU)
    return agreed


def check_equal(name: str, agreed: Agreement) -> None:
    if agreed.unmatched or agreed.extra or agreed.score > MOST_SCORE or agreed.corner > MOST_CORNER:
        raise SystemExit(f"error: {name} has other detections: {agreed.details[:3]}")


def measure(work: Work, rounds: int) -> tuple[dict[str, list[float]], list[float], dict[str, Agreement]]:
    """Seconds per frame of each schedule and the ideal, by round; and how detections agree."""
    schedules: dict[str, Callable[[], list[DetectionBatch]]] = {
        "in turn": work.in_turn,
        "one call": lambda: work.overlapped(work.shared, 1),
        "two calls": lambda: work.overlapped(work.shared, 2),
        "two calls, half the cores each": lambda: work.overlapped(work.halved, 2),
        "two calls, spinning": lambda: work.overlapped(work.spinning, 2),
        "OpenCV loop": work.opencv_loop,
    }
    seconds: dict[str, list[float]] = {name: [] for name in schedules}
    ideals = []
    first: list[DetectionBatch] = []
    agreed: dict[str, Agreement] = {}
    for number in range(rounds + 1):
        ideal = work.ideal()
        for name, run in schedules.items():
            started = time.perf_counter()
            found = run()
            took = (time.perf_counter() - started) / len(work.index)
            first = first or found
            agreed[name] = agreement(found, first)
            # OpenCV converts whole frames to RGB; a model whose frames shrink before that sees other pixels.
            if name != "OpenCV loop" or work.manifest.preprocess.area_by is None:
                check_equal(name, agreed[name])
            if number:
                seconds[name].append(took)
        if number:
            ideals.append(ideal)
    return seconds, ideals, agreed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("synthetic"))
    parser.add_argument("--video", type=Path)
    parser.add_argument("--frames", type=int, default=72, help="of the 1080p file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    keep_freed_memory()
    machine = Machine.here()
    with tempfile.TemporaryDirectory() as folder:
        video = given.video or Path(folder) / "procedural.mp4"
        if given.video is None:
            write_sample_video(video, given.frames, width=1920, height=1080)
        work = Work(bundle_folder(given.bundle), video)
        with closing(work.shared), closing(work.halved), closing(work.single), closing(work.spinning):
            seconds, ideals, agreed = measure(work, given.rounds)
    ideal = Spread.of(ideals)
    print(f"{machine}\n{work.manifest.name}; ideal{ideal.text(1e3)} ms a frame\n")
    rows = {}
    for name, taken in seconds.items():
        ratio = Spread.of([each / least for each, least in zip(taken, ideals, strict=True)])
        as_fast = Spread.of([a / b for a, b in zip(seconds["one call"], taken, strict=True)])
        rows[name] = {"seconds": Spread.of(taken), "to_ideal": ratio, "as_fast_as_one_call": as_fast}
        matched = f"{agreed[name].compared - agreed[name].unmatched} of {agreed[name].compared}"
        spread = Spread.of(taken).text(1e3)
        print(f"{name:28}{spread} ms; / ideal{ratio.text()}; as fast{as_fast.text()}; matched {matched}")
    if given.json is not None:
        figures = {"machine": machine, "model": work.manifest.name, "ideal": ideal, "schedules": rows}
        write_json(given.json, {**figures, "command": sys.argv[1:]})


if __name__ == "__main__":
    main()

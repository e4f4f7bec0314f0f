"""Adds to a report of `selsa bench --json` where the time of a frame goes.

    python -m benchmarks.speed.profile_bench REPORT.json [--bundle FOLDER]

The first way of the report runs again, alone, with the same bundle (`--bundle`, default the packaged one), on
a procedural video of as many frames. `parts`: each part of the pipeline, one after the other. The pipeline
itself decodes ahead while the engines work, so its parts overlap; `overlapped` is its own time. `operators`:
the engines' time by operator, from ONNX Runtime's profiler.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report.output import write_json
from benchmarks.speed.operators import EngineProfile, onnx_profile
from selsa_bundle.default_bundle import bundle_folder, synthetic_bundle
from selsa_bundle.engine import FrameBatch, bank_feeds, sequence_feeds
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.choice import options_named
from selsa_bundle.runtimes.load import load_engines
from selsa_server.bench.report import Spread
from selsa_server.bench.sample_video import write_sample_video
from selsa_server.bench.subject import Footage, Subject
from selsa_server.bench.ways import Way
from selsa_server.pipeline.calls import CALLS
from selsa_server.pipeline.detection_filter import DetectionFilter
from selsa_server.schema.detect import DetectParams, FrameRecord
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame, DecodedFrame, decode_frames
from selsa_server.video.index import index_video

PARTS = (
    "index", "decode", "resize and pad", "stack", "frame engine", "split and join", "sequence engine",
    "records", "JSON",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineProfile:
    """Seconds per frame.

    Attributes:
        parts: each alone, in the order of a frame's path.
        overlapped: the pipeline itself, from file to detections.
        detections: mean number of a frame's detections.
    """

    parts: dict[str, Spread]
    overlapped: Spread
    detections: float


def engine_profiles(subject: Subject, runs: int) -> list[EngineProfile]:
    """Both engines of a bundle in ONNX Runtime on the CPU, one frame in a call."""
    loaded, work = subject.loaded, subject.work
    dims, first = loaded.manifest.dimensions, slice(1)
    sizes, scales = work.sizes[first], work.scales[first]
    feeds = {
        "frame": {"frames": work.pixels[first], "image_size": sizes},
        "sequence": {
            **sequence_feeds(dims, work.features[first], sizes, scales),
            **bank_feeds(dims, work.bank),
        },
    }
    graphs, threads = loaded.manifest.engines[loaded.variant], subject.way.options.threads
    return [
        onnx_profile(name, subject.way.bundle / graph.file, feeds[name], threads=threads, runs=runs)
        for name, graph in sorted(graphs.items())
    ]


def profile_pipeline(subject: Subject, rounds: int) -> PipelineProfile:
    """Run the video through the parts, once to warm up and then `rounds` times."""
    runs = [_Run(subject) for _ in range(rounds + 1)]
    overlapped = []
    for run in runs:
        run.whole_video()
        overlapped.append(subject.pipeline_seconds())
    measured = runs[1:]
    return PipelineProfile(
        parts={part: Spread.of([run.seconds[part] / run.frames for run in measured]) for part in PARTS},
        overlapped=Spread.of(overlapped[1:]),
        detections=measured[-1].detections / measured[-1].frames,
    )


class _Run:
    """One pass over the video, batch by batch."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._preprocess = subject.loaded.manifest.preprocess
        self._filter = DetectionFilter(DetectParams(), subject.loaded.manifest.classes)
        self.seconds: dict[str, float] = defaultdict(float)
        self.frames = 0
        self.detections = 0

    def whole_video(self) -> None:
        footage = self._subject.footage
        with self._part("index"):
            index = index_video(footage.path, self._subject.pipeline.options.limits)
        frames = decode_frames(footage.path, index, range(len(index)), tolerant=False)
        try:
            while batch := list(islice(self._prepared(frames), self._subject.way.batch)):
                self._batch(batch)
        finally:
            frames.close()

    def _prepared(self, frames: Iterator[DecodedFrame | CorruptFrame]) -> Iterator[PreparedFrame]:
        while True:
            with self._part("decode"):
                frame = next(frames, None)
            if frame is None or isinstance(frame, CorruptFrame):
                return
            with self._part("resize and pad"):
                prepared = self._preprocess.prepare(frame.pixels)
            yield prepared

    def _batch(self, frames: list[PreparedFrame]) -> None:
        engines = self._subject.loaded.engines
        with self._part("stack"):
            pixels = np.stack([frame.pixels for frame in frames])
            sizes = np.array([frame.image_size for frame in frames], np.int64)
            scales = np.array([frame.scale_factor for frame in frames], np.float32)
        with self._part("frame engine"):
            features = engines.run_frames(pixels, sizes)
        with self._part("split and join"):
            # As in the pipeline, for frames that are no references.
            joined = FrameBatch.concatenate([features[i : i + 1] for i in range(len(frames))])
        with self._part("sequence engine"):
            found = engines.run_sequence(joined, sizes, scales, self._subject.work.bank)
        for position in range(len(frames)):
            with self._part("records"):
                rows = self._filter.rows(found, position)
                detections = self._filter.detections(
                    found.boxes[position, rows], found.scores[position, rows], found.labels[position, rows]
                )
                record = FrameRecord(index=self.frames, pts=self.frames, time=0.04, detections=detections)
            with self._part("JSON"):
                record.model_dump_json()
            self.frames += 1
            self.detections += len(detections)

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started


def profiled(report: dict[str, Any], bundle: Path) -> dict[str, Any]:
    """The report with `parts` and `operators` in its first way."""
    first, *others = report["ways"]
    provider = {"CPUExecutionProvider": "cpu"}.get(first["provider"], first["provider"].lower())
    options = options_named(provider, first["precision"], threads=first["threads"])
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "procedural.mp4"
        write_sample_video(video, report["frames"], width=1920, height=1080)
        footage = Footage(path=video, index=index_video(video, VideoLimits()))
        way = Way(bundle=bundle, options=options, batch=first["batch"])
        subject = Subject(
            way, load_engines(bundle, replace(options, calls=CALLS)), load_engines(bundle, options), footage
        )
        parts = profile_pipeline(subject, report["rounds"])
        operators = engine_profiles(subject, report["rounds"]) if provider == "cpu" else []
    return {**report, "ways": [{**first, "parts": parts, "operators": operators}, *others]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("report", type=Path)
    parser.add_argument("--bundle", type=bundle_folder)
    given = parser.parse_args()
    report = json.loads(given.report.read_bytes())
    write_json(given.report, profiled(report, given.bundle or synthetic_bundle()))
    sys.stdout.write(f"{given.report}\n")


if __name__ == "__main__":
    main()

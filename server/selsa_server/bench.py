"""What a bundle costs on this machine: each engine alone, and the pipeline from file to detections.

Everything is measured in turn, round by round in one process, so that a machine that is busy for a while is
busy for all of it, and the ratios hold where the seconds do not.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from selsa_bundle.engine import FrameBatch, ReferenceBank
from selsa_bundle.load import LoadedBundle
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.processor import processor_name
from selsa_server.decode import CorruptFrame, decode_frames
from selsa_server.pipeline import DetectionPipeline, PipelineOptions
from selsa_server.schema import DetectParams, SummaryRecord
from selsa_server.video_index import VideoIndex, index_video

__all__ = ["BenchReport", "Spread", "run_bench"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds over the rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Spread":
        """Summary of measured seconds."""
        return cls(statistics.median(seconds), min(seconds), max(seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """Seconds per frame; `ratio` is the median over rounds of pipeline / frame engine within a round."""

    model: str
    provider: str
    precision: str
    machine: str
    cores: int
    video: str
    frames: int
    padded_size: tuple[int, int]
    reference_frames: int
    batch: int
    rounds: int
    frame_engine: Spread
    frame_engine_batched: Spread
    sequence_engine: Spread
    sequence_engine_batched: Spread
    pipeline: Spread
    ratio: Spread

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def run_bench(
    bundle: LoadedBundle,
    video: Path,
    *,
    batch: int,
    rounds: int,
    say: Callable[[str], None] = lambda _: None,
) -> BenchReport:
    """Measure `bundle` on `video`; one more round than asked for runs first, to warm up.

    Raises:
        DetectError: the video cannot be detected on.
    """
    pipeline = DetectionPipeline(bundle, PipelineOptions(batch=batch))
    index = index_video(video, pipeline.options.limits)
    references = bundle.manifest.reference_frames
    work = _Work(bundle, _first_frames(bundle, video, index, batch), references)
    seconds: dict[str, list[float]] = {name: [] for name in ("f1", "fn", "s1", "sn", "pipeline", "ratio")}
    for round_number in range(rounds + 1):
        say(f"round {round_number} of {rounds}" if round_number else "warming up")
        measured = dict(_round(work, pipeline, video, batch))
        if round_number:
            measured["ratio"] = measured["pipeline"] / measured["f1"]
            for name, value in measured.items():
                seconds[name].append(value)
    return BenchReport(
        model=bundle.manifest.name,
        provider=bundle.engines.info.provider,
        precision=bundle.engines.info.precision,
        machine=f"{processor_name()}, {platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        video=f"{video.name}, {index.width}x{index.height}, {index.codec}",
        frames=len(index.pts),
        padded_size=(work.frames[0].pixels.shape[1], work.frames[0].pixels.shape[0]),
        reference_frames=references,
        batch=batch,
        rounds=rounds,
        frame_engine=Spread.of(seconds["f1"]),
        frame_engine_batched=Spread.of(seconds["fn"]),
        sequence_engine=Spread.of(seconds["s1"]),
        sequence_engine_batched=Spread.of(seconds["sn"]),
        pipeline=Spread.of(seconds["pipeline"]),
        ratio=Spread.of(seconds["ratio"]),
    )


class _Work:
    """Inputs of the engines, made once."""

    def __init__(self, bundle: LoadedBundle, frames: list[PreparedFrame], references: int) -> None:
        self.engines = bundle.engines
        self.frames = frames
        self.features = self.run_frames(len(frames))
        rows = [self.features[i % len(frames) : i % len(frames) + 1] for i in range(max(1, references))]
        self.bank = ReferenceBank(
            memory=np.concatenate([f.memory[0] for f in rows], axis=2),
            valid=np.concatenate([f.valid[0] for f in rows]),
        )

    def run_frames(self, count: int) -> FrameBatch:
        frames = self.frames[:count]
        sizes = np.array([f.image_size for f in frames], np.int64)
        return self.engines.run_frames(np.stack([f.pixels for f in frames]), sizes)

    def run_sequence(self, count: int) -> None:
        frames = self.frames[:count]
        sizes = np.array([f.image_size for f in frames], np.int64)
        scales = np.array([f.scale_factor for f in frames], np.float32)
        self.engines.run_sequence(self.features[:count], sizes, scales, self.bank)


def _round(work: _Work, pipeline: DetectionPipeline, video: Path, batch: int) -> Iterator[tuple[str, float]]:
    """Seconds per frame of each part. The frame engine is measured before and after the pipeline."""
    before = [_seconds(lambda: work.run_frames(1)) for _ in range(3)]
    yield "fn", _seconds(lambda: work.run_frames(batch)) / batch
    yield "s1", _seconds(lambda: work.run_sequence(1))
    yield "sn", _seconds(lambda: work.run_sequence(batch)) / batch
    summary: list[SummaryRecord] = []
    took = _seconds(lambda: summary.extend(_summaries(pipeline, video)))
    yield "pipeline", took / summary[0].emitted
    after = [_seconds(lambda: work.run_frames(1)) for _ in range(3)]
    yield "f1", statistics.median(before + after)


def _summaries(pipeline: DetectionPipeline, video: Path) -> Iterator[SummaryRecord]:
    return (record for record in pipeline.run(video, DetectParams()) if isinstance(record, SummaryRecord))


def _first_frames(bundle: LoadedBundle, video: Path, index: VideoIndex, count: int) -> list[PreparedFrame]:
    frames = [
        bundle.manifest.preprocess.prepare(frame.pixels)
        for frame in decode_frames(video, index, range(min(count, len(index.pts))), tolerant=False)
        if not isinstance(frame, CorruptFrame)
    ]
    # A video shorter than a batch is measured on its frames again.
    return [frames[i % len(frames)] for i in range(count)]


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun

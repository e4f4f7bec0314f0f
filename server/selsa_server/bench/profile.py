"""Where the time of a frame goes on its way through the pipeline: each part alone, nothing beside it.

The pipeline decodes ahead while the engines work, so its parts overlap and its own clocks see each other's
work. Here they come one after the other; what they add up to is what one core's worth of work is, and
`overlapped` is what the pipeline makes of it.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np

from selsa_bundle.engine import FrameBatch
from selsa_bundle.preprocess import PreparedFrame
from selsa_server.bench.spread import Spread
from selsa_server.bench.subject import Subject
from selsa_server.pipeline.detection_filter import DetectionFilter
from selsa_server.schema.detect import DetectParams, FrameRecord
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
        parts: each alone, in the order of a frame's way.
        overlapped: the pipeline as it is, from file to detections.
        detections: of a frame, that are made into records; the mean.
    """

    parts: dict[str, Spread]
    overlapped: Spread
    detections: float


def profile_pipeline(subject: Subject, rounds: int) -> PipelineProfile:
    """Send the video through part by part, once to warm up and then `rounds` times.

    Raises:
        DetectError: the video cannot be decoded.
        EngineError: an engine failed.
    """
    runs = [_Run(subject) for _ in range(rounds + 1)]
    overlapped = []
    for run in runs:
        run.whole_video()
        overlapped.append(subject.round(("pipeline",))["pipeline"])
    measured = runs[1:]
    return PipelineProfile(
        parts={part: Spread.of([run.seconds[part] / run.frames for run in measured]) for part in PARTS},
        overlapped=Spread.of(overlapped[1:]),
        detections=measured[-1].detections / measured[-1].frames,
    )


class _Run:
    """The video once, batch by batch."""

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
            # As the pipeline does, for frames that were not among the references.
            joined = FrameBatch.concatenate([features[i : i + 1] for i in range(len(frames))])
        with self._part("sequence engine"):
            found = engines.run_sequence(joined, sizes, scales, self._subject.work.bank)
        for position in range(len(frames)):
            with self._part("records"):
                detections = self._filter(found, position)
                record = FrameRecord(index=self.frames, pts=self.frames, time=0.04, detections=detections)
            with self._part("JSON"):
                record.model_dump_json()
            self.frames += 1
            self.detections += len(detections)

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begun

"""Those who detect on the same video, each as a function that takes seconds per key frame."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from benchmarks.speed.published_form import PARTS, PublishedForm
from selsa_bundle.preprocess import PreparedFrame, Preprocess
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.run_context import Stopwatch
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame, decode_frames
from selsa_server.video.index import index_video
from selsa_server.video.selection import select_frames
from selsa_training.model.detector import SelsaDetector


class Contender(Protocol):
    """Whoever detects."""

    @property
    def name(self) -> str:
        """For a table."""
        ...

    def seconds(self) -> float:
        """Per key frame, from the file to detections."""
        ...


@dataclass(frozen=True, slots=True)
class Footage:
    """A video, and which of its frames PyTorch is asked for in a round."""

    path: Path
    key_frames: tuple[int, ...]
    preprocess: Preprocess

    def references(self, count: int) -> tuple[int, ...]:
        """Source indices of `count` reference frames, as the pipeline chooses them."""
        index = index_video(self.path, VideoLimits())
        return tuple(select_frames(index, DetectParams(), count).references)

    def prepared(self, wanted: Sequence[int]) -> list[PreparedFrame]:
        """These frames, decoded, resized and padded."""
        index = index_video(self.path, VideoLimits())
        found = decode_frames(self.path, index, sorted(set(wanted)), tolerant=False)
        frames = {
            f.index: self.preprocess.prepare(f.pixels) for f in found if not isinstance(f, CorruptFrame)
        }
        return [frames[i] for i in wanted]


class Ours:
    """The pipeline on the whole video."""

    def __init__(self, bundle: LoadedBundle, footage: Footage, about: str = "") -> None:
        info = bundle.engines.info
        runtime = "ONNX Runtime" if info.provider.endswith("ExecutionProvider") else info.provider
        self.name = f"selsa, {runtime} {info.precision}{about}"
        self._pipeline = DetectionPipeline(bundle)
        self._footage = footage

    def seconds(self) -> float:
        started = time.perf_counter()
        *_, last = self._pipeline.run(self._footage.path, DetectParams())
        assert isinstance(last, SummaryRecord)
        return (time.perf_counter() - started) / last.emitted

    def detections(self) -> dict[int, FrameRecord]:
        """Every detection of the key frames."""
        records = self._pipeline.run(self._footage.path, DetectParams(score_threshold=0))
        wanted = self._footage.key_frames
        return {r.index: r for r in records if isinstance(r, FrameRecord) and r.index in wanted}


@dataclass
class Published:
    """Plain PyTorch, key frame by key frame; the reference frames' feature maps are there already."""

    detector: SelsaDetector
    footage: Footage
    references: Sequence[int]
    name: str = "plain PyTorch after the published code"
    parts: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._clock = Stopwatch(PARTS)
        self._form = PublishedForm(self.detector, self._clock)
        self._form.remember(self.footage.prepared(self.references))

    def seconds(self) -> float:
        before, started = self._clock.parts, time.perf_counter()
        count = len(self.detections())
        took = time.perf_counter() - started
        after = self._clock.parts
        self.parts.append({part: (after[part] - before[part]) / count for part in PARTS})
        return took / count

    def detections(self) -> dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Of the key frames."""
        frames = self.footage.prepared(self.footage.key_frames)
        found = (self._form.detect(frame) for frame in frames)
        return dict(zip(self.footage.key_frames, found, strict=True))

    def median_parts(self, rounds: int) -> dict[str, float]:
        """Seconds of each part per key frame, over the last rounds."""
        last = self.parts[-rounds:]
        return {part: statistics.median(each[part] for each in last) for part in PARTS}


class Torchvision:
    """Faster R-CNN R50-FPN, frame by frame: no sequence, and other features, for scale. Untrained."""

    name = "torchvision Faster R-CNN R50-FPN, single frames"

    def __init__(self, footage: Footage, classes: int) -> None:
        self._footage = footage
        preprocess = footage.preprocess
        torch.manual_seed(0)
        model = fasterrcnn_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=classes + 1,
            # Frames come resized; no side is to be changed again.
            min_size=preprocess.short_side,
            max_size=preprocess.long_side,
        )
        self._model = model.eval()

    @torch.inference_mode()
    def seconds(self) -> float:
        started = time.perf_counter()
        frames = self._footage.prepared(self._footage.key_frames)
        for frame in frames:
            height, width = frame.image_size
            pixels = np.ascontiguousarray(frame.pixels[:height, :width].transpose(2, 0, 1))
            self._model([torch.from_numpy(pixels).float() / 255])
        return (time.perf_counter() - started) / len(frames)

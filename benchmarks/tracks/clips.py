"""Labelled clips as video files, and what the pipeline answers on them: the product as it is used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.load import load_engines
from selsa_bundle.tracks.observation import Observation
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, TrackedDetection
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.images import read_image
from selsa_training.data.issues import IssueLog
from selsa_training.evaluation.metrics.tracking import Numbered

RATE = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A video with its objects: boxes [N, 4] xyxy in pixels from 0, and numbers [N], of each frame."""

    path: Path
    truth: list[Numbered]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The detections of every frame, by score descending, and the number of each; 0: of no object."""

    frames: list[Observation]
    numbers: list[np.ndarray]

    @property
    def tracks(self) -> list[Numbered]:
        """The detections that have a number."""
        pairs = zip(self.frames, self.numbers, strict=True)
        return [(frame.boxes[of > 0], of[of > 0]) for frame, of in pairs]


def labelled_clips(path: Path, folder: Path) -> Iterator[Clip]:
    """The held-out clips of a labelled set, each written to the folder without loss; gone after its turn."""
    data = open_data(DataSource(path=path, images=None, with_det=False), "val", IssueLog())
    for video in range(data.video_count):
        out = folder / f"{video}.mkv"
        frames = data.frames_of(video)
        write_clip(out, [read_image(data.path(frame)) for frame in frames])
        counted = [(each, ~each.ignored) for each in map(data.objects, frames)]
        yield Clip(path=out, truth=[(each.boxes[rows], each.tracks[rows]) for each, rows in counted])
        out.unlink()


def mot_clip(video: Path, truth: Path) -> Clip:
    """A video with MOTChallenge ground truth: frame, number, left, top, width, height; all from 1."""
    rows = np.loadtxt(truth, delimiter=",", ndmin=2)
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], 1).astype(np.float32) - 1
    with av.open(str(video)) as container:
        count = sum(1 for _ in container.decode(video=0))
    of = [rows[:, 0] == frame + 1 for frame in range(count)]
    return Clip(path=video, truth=[(boxes[mine], rows[mine, 1].astype(np.int64)) for mine in of])


def pipeline_of(bundle: Path) -> DetectionPipeline:
    """The pipeline with a bundle, on the provider that `auto` chooses."""
    return DetectionPipeline(load_engines(bundle, EngineOptions()))


def answered(pipeline: DetectionPipeline, clip: Clip, params: DetectParams) -> Answer:
    """Detect on a clip.

    Numbers are those of a document or file in sequence mode, aliases applied, and those of the stream in
    online mode, because an alias is known at the end only.
    """
    records = list(pipeline.run(clip.path, params))
    summary = next(each for each in records if isinstance(each, SummaryRecord))
    aliases = (params.mode == "sequence" and summary.aliases) or {}
    frames = [each for each in records if isinstance(each, FrameRecord)]
    return Answer(
        frames=[_observation(each) for each in frames],
        numbers=[_numbers(each, aliases) for each in frames],
    )


def _numbers(frame: FrameRecord, aliases: dict[int, int]) -> np.ndarray:
    ids = [each.track_id or 0 if isinstance(each, TrackedDetection) else 0 for each in frame.detections]
    return np.array([aliases.get(number, number) for number in ids], np.int64)


def _observation(frame: FrameRecord) -> Observation:
    found = frame.detections
    boxes = [(each.box.x1, each.box.y1, each.box.x2, each.box.y2) for each in found]
    return Observation(
        index=frame.index,
        time=frame.time,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array([each.score for each in found], np.float32),
        labels=np.array([each.class_id for each in found], np.int64),
    )


def write_clip(path: Path, images: Sequence[np.ndarray]) -> None:
    height, width = images[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

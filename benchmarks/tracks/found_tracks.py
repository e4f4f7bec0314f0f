"""Detections of a labelled video set in memory, for the comparisons of this folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from selsa_bundle.references import spread_references
from selsa_bundle.tracks.observation import Observation
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.issues import IssueLog
from selsa_training.data.motion import with_known_motion
from selsa_training.data.records import DataSet
from selsa_training.evaluation.metrics.detections import Detections
from selsa_training.evaluation.metrics.labels import label_map
from selsa_training.evaluation.modes import DetectionRun, detect
from selsa_training.evaluation.opened_model import ModelOptions, open_model
from selsa_training.evaluation.variants import Variant


def keys(frames: int, stride: int) -> list[int]:
    """Positions of the frames that are detected on when those between are filled."""
    return sorted({*range(0, frames, stride), frames - 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class Strided(Variant):
    """References among the frames that are detected on, as the server chooses them with `fill`."""

    stride: int

    def reference_frames(self, frame_count: int) -> Sequence[int]:
        """See `Variant`."""
        among = keys(frame_count, self.stride)
        return [among[position] for position in spread_references(len(among), self.references)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSet:
    """A data set and what a model finds in all of its frames.

    Attributes:
        data: the videos with their objects.
        found: the detections, whatever their score.
    """

    data: DataSet
    found: Detections

    @classmethod
    def of(cls, model: Path, path: Path, strides: Sequence[int]) -> dict[int, Self]:
        """Detect with a bundle or checkpoint on the held-out part of a data set.

        Returns:
            By stride: all frames, with the references that this stride gives them.
        """
        opened = open_model(model, ModelOptions())
        data = with_known_motion(
            open_data(DataSource(path=path, images=None, with_det=False), "val", IssueLog())
        )
        variants = {stride: Strided(references=opened.reference_frames, stride=stride) for stride in strides}
        labels = label_map(opened.classes, data.classes)
        run = DetectionRun(workers=1)
        found = detect(opened.engines, data, opened.preprocess, list(variants.values()), labels, run)
        return {stride: cls(data=data, found=found[variant]) for stride, variant in variants.items()}

    def videos(self) -> Iterator[list[Observation]]:
        """The frames of each video, indices from 0, detections by score descending."""
        for video in range(self.data.video_count):
            frames = enumerate(self.data.frames_of(video))
            yield [self._observation(index, frame) for index, frame in frames]

    def scored(self, videos: Sequence[Sequence[Observation]]) -> Detections:
        """Detections of all frames, to be evaluated."""
        by_frame = {}
        for video, frames in enumerate(videos):
            for frame, seen in zip(self.data.frames_of(video), frames, strict=True):
                by_frame[frame] = seen.boxes, seen.scores, seen.labels
        return Detections.of(by_frame)

    def _observation(self, index: int, frame: int) -> Observation:
        rows = self.found.rows_of(frame)
        order = np.argsort(-self.found.scores[rows], kind="stable")
        return Observation(
            index=index,
            time=None,
            boxes=self.found.boxes[rows][order],
            scores=self.found.scores[rows][order],
            labels=self.found.labels[rows][order],
        )

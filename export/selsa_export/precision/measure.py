"""Measurements of a way to run a bundle: agreement with fp32, speed, and AP50 on a data set."""

import statistics
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np

from selsa_bundle.engine import DetectionBatch, Engines, FrameBatch, ReferenceBank
from selsa_bundle.gate.agreement import Agreement, compare_detections
from selsa_bundle.manifest import Manifest
from selsa_bundle.precision_report import DetectionAgreement
from selsa_bundle.preprocess import PreparedFrame
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import DataSet

# Detections with a lower score are ignored. Boxes with at least this IoU count as the same box.
THRESHOLD: Final = 0.3
SAME_BOX_IOU: Final = 0.9
QUANTILES: Final = (0.5, 0.9, 0.95, 0.99, 1.0)

Clips = Sequence[Sequence[PreparedFrame]]
Way = TypeVar("Way", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionData:
    """An annotated data set, opened.

    Attributes:
        name: as given on the command line.
    """

    data: DataSet
    name: str
    split: str


def open_precision_data(
    source: DataSource, split: Literal["train", "val"], limit: int | None
) -> PrecisionData:
    """Read the annotations of a data set.

    Raises:
        DataError: it cannot be read.
    """

    log = IssueLog()
    data = open_data(source, split, log)
    log.raise_if_fatal()
    if limit is not None:
        data = data.first(limit)
    return PrecisionData(data=data, name=source.path.name, split=split)


def detections_of(engines: Engines, clips: Clips) -> list[DetectionBatch]:
    """Detections of every frame of every clip; the reference bank of a frame is its whole clip.

    Raises:
        EngineError: the runtime failed.
    """
    found = []
    for clip in clips:
        batches = [_frame(engines, frame) for frame in clip]
        bank = ReferenceBank.of(batches, engines.dimensions)
        for batch, frame in zip(batches, clip, strict=True):
            size = np.array([frame.image_size], np.int64)
            scale = np.array([frame.scale_factor], np.float32)
            found.append(engines.run_sequence(batch, size, scale, bank))
    return found


def compare_with(want: Sequence[DetectionBatch], have: Sequence[DetectionBatch]) -> DetectionAgreement:
    """Agreement of detections with those of fp32 on the same frames."""
    agreement = Agreement()
    for reference, candidate in zip(want, have, strict=True):
        mine, theirs = reference.of(0), candidate.of(0)
        compare_detections(agreement, mine, theirs, threshold=THRESHOLD, iou_floor=SAME_BOX_IOU)
    differences = agreement.score_differences
    return DetectionAgreement(
        frames=len(want),
        threshold=THRESHOLD,
        iou=SAME_BOX_IOU,
        compared=agreement.compared,
        matched=agreement.compared - agreement.unmatched,
        extra=agreement.extra,
        score_quantiles={
            f"{q:g}": round(float(np.quantile(differences, q)), 6) for q in QUANTILES if differences
        },
    )


@dataclass(frozen=True, slots=True)
class Judge:
    """Agreement with fp32 on the user's clips.

    Attributes:
        want: the detections of fp32 on them.
    """

    clips: Clips
    want: list[DetectionBatch]

    @classmethod
    def of(cls, engines: Engines, clips: Clips) -> "Judge":
        """A judge that compares with the detections of these engines."""
        return cls(clips, detections_of(engines, clips))

    def agreement(self, engines: Engines) -> DetectionAgreement:
        """Agreement of other engines."""
        return compare_with(self.want, detections_of(engines, self.clips))


def seconds_in_turn(
    ways: Mapping[Way, Engines], frame: PreparedFrame, *, rounds: int
) -> dict[Way, list[float]]:
    """Seconds of the frame engine for one frame, by way and round.

    The ways take turns within a round, so that other load on the machine affects all of them.
    """
    for engines in ways.values():
        _frame(engines, frame)
    seconds: dict[Way, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, engines in ways.items():
            started = time.perf_counter()
            _frame(engines, frame)
            seconds[name].append(time.perf_counter() - started)
    return seconds


def times_as_fast(base: Sequence[float], other: Sequence[float]) -> float:
    """The median over rounds of base / other."""
    return statistics.median(b / o for b, o in zip(base, other, strict=True))


def ap50_of(engines: Engines, manifest: Manifest, chosen: PrecisionData) -> float:
    """AP50 in percent, sequence mode, all objects.

    Raises:
        EngineError: the runtime failed.
        EvaluationError: the data set has other classes.
    """
    from selsa_training.evaluation.comparison import compare, score
    from selsa_training.evaluation.metrics.labels import label_map
    from selsa_training.evaluation.modes import DetectionRun, detect

    dims = engines.dimensions
    comparison = compare(("sequence",), (), references=manifest.reference_frames, proposals=dims.proposals)
    labels = label_map(manifest.classes, chosen.data.classes)
    run = DetectionRun(workers=1)
    found = detect(engines, chosen.data, manifest.preprocess, comparison.variants, labels, run)
    return round(score(chosen.data, comparison, found).modes["sequence"].vid.ap50["all"], 3)


def _frame(engines: Engines, frame: PreparedFrame) -> FrameBatch:
    return engines.run_frames(frame.pixels[None], np.array([frame.image_size], np.int64))

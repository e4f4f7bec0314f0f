"""Parity: compare the exported engines in ONNX Runtime with the model in torch, on the same frames.

Every tensor of the contract is compared. Proposals and detections are matched by their boxes, because the
order of equal scores can differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from selsa_bundle.engine import DetectionBatch, Engines, FrameBatch, ReferenceBank
from selsa_bundle.gate.agreement import Agreement, compare_detections, compare_proposals, worst_features
from selsa_bundle.preprocess import PreparedFrame
from selsa_export.parity.report import EngineParity, ParityReport, Tolerance
from selsa_training.model.detector import Detector
from selsa_training.model.torch_engines import TorchEngines

Float = npt.NDArray[np.float32]
Boxes = tuple[Float, Float, npt.NDArray[np.int64]]
SAME_BOX_IOU: Final = 0.99


@dataclass(frozen=True, slots=True)
class _Outputs:
    frames: list[FrameBatch]
    detections: list[DetectionBatch]


@dataclass(frozen=True, slots=True)
class ParityReference:
    """The outputs of the model in torch for a clip, to compare with any number of engines.

    Attributes:
        frames: the clip; every frame is a key frame and a reference frame.
    """

    frames: Sequence[PreparedFrame]
    wanted: _Outputs

    @classmethod
    def of(cls, detector: Detector, frames: Sequence[PreparedFrame]) -> "ParityReference":
        """Run the model, in evaluation mode on the CPU."""
        return cls(frames, _run(TorchEngines(detector), frames))

    def measure(self, engines: Engines, tolerance: Tolerance) -> EngineParity:
        """Run the engines on the same frames and compare all outputs."""
        wanted, found = self.wanted, _run(engines, self.frames)
        family = engines.dimensions.tensors
        proposals = [
            compare_proposals(w, f, SAME_BOX_IOU, family)
            for w, f in zip(wanted.frames, found.frames, strict=True)
        ]
        threshold = 0.01
        agreement = _compare(wanted.detections, found.detections, threshold)
        return EngineParity(
            frame_count=len(self.frames),
            tolerance=tolerance,
            proposals=sum(p.total for p in proposals),
            proposals_unmatched=sum(p.unmatched for p in proposals),
            proposal_corner=max(p.corner for p in proposals),
            features=worst_features(proposals),
            detections=agreement.compared,
            detections_unmatched=agreement.unmatched,
            detections_extra=agreement.extra,
            detection_score=agreement.score,
            detection_corner=agreement.corner,
            detection_threshold=threshold,
            batched=_batched(engines, self.frames, found),
        )

    def report(self, engines: Engines, described: str) -> ParityReport:
        """The report of the fp32 engines; `described` is the source of the frames."""
        return ParityReport(
            **self.measure(engines, Tolerance()).model_dump(),
            frames=described,
            sizes=tuple(sorted({(f.pixels.shape[0], f.pixels.shape[1]) for f in self.frames})),
            compared_with=f"torch {torch.__version__}",
        )


def _compare(
    wanted: Sequence[DetectionBatch], found: Sequence[DetectionBatch], threshold: float
) -> Agreement:
    agreement = Agreement()
    for want, find in zip(wanted, found, strict=True):
        compare_detections(agreement, want.of(0), find.of(0), threshold=threshold)
    return agreement


def _run(engines: Engines, frames: Sequence[PreparedFrame]) -> _Outputs:
    batches = [engines.run_frames(f.pixels[None], np.array([f.image_size], np.int64)) for f in frames]
    bank = ReferenceBank.of(batches, engines.dimensions)
    detections = [
        engines.run_sequence(
            batch, np.array([f.image_size], np.int64), np.array([f.scale_factor], np.float32), bank
        )
        for batch, f in zip(batches, frames, strict=True)
    ]
    return _Outputs(batches, detections)


def _batched(
    engines: Engines, frames: Sequence[PreparedFrame], alone: _Outputs
) -> Literal["equal", "within tolerance", "outside tolerance"]:
    """Compare a batch (first frame, second frame, first frame) with each frame run alone."""
    chosen = [0, *(i for i in (1, 0) if frames[i].pixels.shape == frames[0].pixels.shape)]
    batch = engines.run_frames(
        np.stack([frames[i].pixels for i in chosen]),
        np.array([frames[i].image_size for i in chosen], np.int64),
    )
    detections = engines.run_sequence(
        batch,
        np.array([frames[i].image_size for i in chosen], np.int64),
        np.array([frames[i].scale_factor for i in chosen], np.float32),
        ReferenceBank.of(alone.frames, engines.dimensions),
    )
    agreement, equal = Agreement(), True
    for position, i in enumerate(chosen):
        want, found = alone.detections[i].of(0), detections.of(position)
        equal = equal and _same(want, found)
        compare_detections(agreement, want, found, threshold=0.01)
    if equal:
        return "equal"
    t = Tolerance()
    close = not agreement.unmatched and agreement.score <= t.score and agreement.corner <= t.corner
    return "within tolerance" if close else "outside tolerance"


def _same(a: Boxes, b: Boxes) -> bool:
    return np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) and np.array_equal(a[2], b[2])

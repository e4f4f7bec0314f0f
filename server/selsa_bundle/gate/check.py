"""How far a runtime's outputs are from a gate's, tensor by tensor, and whether that is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from selsa_bundle.engine import Engines
from selsa_bundle.errors import GateError
from selsa_bundle.family import Family
from selsa_bundle.gate.agreement import Agreement, compare_detections, compare_proposals, worst_features
from selsa_bundle.gate.gate import Gate, GateOutputs, run_gate
from selsa_bundle.tolerance import GateTolerance

# Lowest score of a detection that counts.
DETECTION_FLOOR: Final = 0.01
# Lowest IoU of partners in a family whose boxes belong to points. A box of another point that predicts the
# same object is then mostly one without a partner: on another processor it may be many pixels away.
POINT_IOU: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDifference:
    """The largest differences over the frames, which a `GateTolerance` bounds.

    Attributes:
        not_finite: name of the first output with a value that is not finite.
        boxes: proposals on either side.
        boxes_corner: pixels of the resized frame.
        features: relative L2 of each feature of the family.
        detections_unmatched: missing or extra ones.
        detections_corner: pixels of the source frame.
        scores: largest difference.
    """

    not_finite: str | None = None
    boxes: int
    boxes_unmatched: int
    boxes_corner: float
    features: Mapping[str, float]
    detections: int
    detections_unmatched: int
    detections_corner: float
    scores: float

    def failures(self, allowed: GateTolerance, frames: int) -> list[str]:
        """Differences outside the tolerance, one clause each with the tensor's name."""
        if self.not_finite is not None:
            return [f"{self.not_finite} has values that are not finite"]
        # Two boxes of almost equal score may change places at the cut: one per frame is allowed.
        most_boxes = allowed.unmatched * self.boxes + frames
        most_detections = allowed.unmatched * self.detections + frames
        checks = (
            ("boxes", self.boxes_unmatched, most_boxes, f"of {self.boxes} without a partner"),
            ("boxes", self.boxes_corner, allowed.corner, "px off"),
            *((name, off, allowed.feature, "off (relative L2)") for name, off in self.features.items()),
            (
                "detections",
                self.detections_unmatched,
                most_detections,
                f"of {self.detections} missing or extra",
            ),
            ("detections", self.detections_corner, allowed.corner, "px off"),
            ("scores", self.scores, allowed.score, "off"),
        )
        return [
            f"{name}: {value:.3g} {unit}, {most:.3g} allowed"
            for name, value, most, unit in checks
            if value > most
        ]


def check_gate(engines: Engines, gate: Gate, allowed: GateTolerance) -> GateDifference:
    """Run a gate's frames and compare.

    Raises:
        GateError: outputs lie outside the tolerance; the message names the tensors.
        EngineError: an engine failed.
    """
    outputs = run_gate(engines, gate.frames, gate.image_size, gate.scale_factor)
    difference = compare_outputs(gate, outputs, allowed.partner_iou, engines.dimensions.tensors)
    if failures := difference.failures(allowed, len(gate.frames)):
        info = engines.info
        raise GateError(
            f"{info.provider} in {info.precision} computes wrong outputs on the bundle's test frames on "
            f"this machine: {'; '.join(failures)}. Choose another --provider or --precision."
        )
    return difference


def compare_outputs(gate: Gate, outputs: GateOutputs, partner_iou: float, family: Family) -> GateDifference:
    """Compare engines' outputs with the stored ones; boxes are matched, since ties may change places."""
    if family.of_points:
        partner_iou = max(partner_iou, POINT_IOU)
    want, have = gate.found, outputs.found
    floats = {name: array for name, array in outputs.batch.tensors.items() if array.dtype == np.float32}
    floats |= {"detections": have.boxes, "scores": have.scores}
    broken = next((name for name, array in floats.items() if not np.isfinite(array).all()), None)
    agreement = Agreement()
    proposals = []
    for frame in range(len(gate.frames) if broken is None else 0):
        one = slice(frame, frame + 1)
        found = compare_proposals(gate.batch[one], outputs.batch[one], partner_iou, family)
        proposals.append(found)
        compare_detections(
            agreement,
            want.of(frame),
            have.of(frame),
            threshold=DETECTION_FLOOR,
            iou_floor=partner_iou,
        )
    return GateDifference(
        not_finite=broken,
        boxes=sum(each.total for each in proposals),
        boxes_unmatched=sum(each.unmatched for each in proposals),
        boxes_corner=max((each.corner for each in proposals), default=0.0),
        features=worst_features(proposals),
        detections=agreement.compared,
        detections_unmatched=max(agreement.unmatched, agreement.extra),
        detections_corner=agreement.corner,
        scores=agreement.score,
    )

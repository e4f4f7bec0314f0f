"""How far a runtime's outputs are from a gate's, tensor by tensor, and whether that is allowed."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.engine import Engines
from selsa_bundle.errors import GateError
from selsa_bundle.gate.agreement import Agreement, box_iou, compare_detections, match_boxes
from selsa_bundle.gate.gate import Gate, GateOutputs, run_gate
from selsa_bundle.tolerance import GateTolerance

# Lowest score of a detection that counts.
DETECTION_FLOOR: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDifference:
    """What a `GateTolerance` bounds, by tensor; the worst over the frames.

    Attributes:
        not_finite: name of the first output with a value that is no number.
        boxes: proposals on either side.
        boxes_unmatched: those of them without a partner.
        boxes_corner: pixels of the resized frame.
        queries: relative L2.
        memory: relative L2.
        detections: detections of the gate.
        detections_unmatched: missing or extra ones.
        detections_corner: pixels of the source frame.
        scores: largest difference.
    """

    not_finite: str | None = None
    boxes: int
    boxes_unmatched: int
    boxes_corner: float
    queries: float
    memory: float
    detections: int
    detections_unmatched: int
    detections_corner: float
    scores: float

    def failures(self, allowed: GateTolerance, frames: int) -> list[str]:
        """What lies outside, one clause each with the tensor's name; empty if nothing does."""
        if self.not_finite is not None:
            return [f"{self.not_finite} has values that are no numbers"]
        # Two boxes of almost equal score may change places at the cut: one a frame is no difference.
        most_boxes = allowed.unmatched * self.boxes + frames
        most_detections = allowed.unmatched * self.detections + frames
        checks = (
            ("boxes", self.boxes_unmatched, most_boxes, f"of {self.boxes} without a partner"),
            ("boxes", self.boxes_corner, allowed.corner, "px off"),
            ("queries", self.queries, allowed.feature, "off (relative L2)"),
            ("memory", self.memory, allowed.feature, "off (relative L2)"),
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
        GateError: outputs lie outside what is allowed; the message names the tensors.
        EngineError: an engine failed.
    """
    outputs = run_gate(engines, gate.frames, gate.image_size, gate.scale_factor)
    difference = compare_outputs(gate, outputs, allowed.partner_iou)
    if failures := difference.failures(allowed, len(gate.frames)):
        info = engines.info
        raise GateError(
            f"{info.provider} in {info.precision} does not compute on this machine what the bundle's test "
            f"frames must give: {'; '.join(failures)}. Choose another --provider or --precision."
        )
    return difference


def compare_outputs(gate: Gate, outputs: GateOutputs, partner_iou: float) -> GateDifference:
    """Compare what engines said with what they must say; boxes are matched, since ties may change places."""
    batch, found = outputs.batch, outputs.found
    arrays = {
        "boxes": batch.boxes,
        "queries": batch.queries,
        "memory": batch.memory,
        "detections": found.boxes,
        "scores": found.scores,
    }
    if broken := next((name for name, array in arrays.items() if not np.isfinite(array).all()), None):
        return _broken(broken)
    proposals = [_proposals(gate, outputs, frame, partner_iou) for frame in range(len(gate.frames))]
    agreement = Agreement()
    for frame in range(len(gate.frames)):
        want, have = int(gate.count[frame]), int(found.count[frame])
        compare_detections(
            agreement,
            (gate.detections[frame, :want], gate.scores[frame, :want], gate.labels[frame, :want]),
            (found.boxes[frame, :have], found.scores[frame, :have], found.labels[frame, :have]),
            threshold=DETECTION_FLOOR,
            iou_floor=partner_iou,
        )
    return GateDifference(
        boxes=sum(each.total for each in proposals),
        boxes_unmatched=sum(each.unmatched for each in proposals),
        boxes_corner=max(each.corner for each in proposals),
        queries=max(each.queries for each in proposals),
        memory=max(each.memory for each in proposals),
        detections=agreement.compared,
        detections_unmatched=max(agreement.unmatched, agreement.extra),
        detections_corner=agreement.corner,
        scores=agreement.score,
    )


def _broken(name: str) -> GateDifference:
    return GateDifference(
        not_finite=name,
        boxes=0,
        boxes_unmatched=0,
        boxes_corner=0,
        queries=0,
        memory=0,
        detections=0,
        detections_unmatched=0,
        detections_corner=0,
        scores=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proposals:
    total: int
    unmatched: int
    corner: float
    queries: float
    memory: float


def _proposals(gate: Gate, outputs: GateOutputs, frame: int, partner_iou: float) -> _Proposals:
    batch = outputs.batch
    mine = np.flatnonzero(gate.valid[frame])
    theirs = np.flatnonzero(batch.valid[frame])
    want, have = gate.boxes[frame, mine], batch.boxes[frame, theirs]
    pairs = match_boxes(box_iou(want, have), partner_iou) if len(want) and len(have) else []
    # Features are kept of the first rows only.
    kept = [(mine[i], theirs[j]) for i, j in pairs if mine[i] < gate.queries.shape[1]]
    rows, others = (np.array(side, np.int64) for side in (zip(*kept, strict=True) if kept else ((), ())))
    corner = max((float(np.abs(want[i] - have[j]).max()) for i, j in pairs), default=0.0)
    return _Proposals(
        total=len(want),
        unmatched=max(len(want), len(have)) - len(pairs),
        corner=corner,
        queries=_relative(gate.queries[frame][rows], batch.queries[frame][others]),
        memory=_relative(gate.memory[frame][:, :, rows], batch.memory[frame][:, :, others]),
    )


def _relative(want: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> float:
    """L2 of the difference, relative to the L2 of what was wanted."""
    norm = float(np.linalg.norm(want))
    return float(np.linalg.norm(want - found)) / norm if norm else 0.0

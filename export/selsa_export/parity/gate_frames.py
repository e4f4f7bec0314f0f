"""The gate of a bundle: two small procedural frames and the outputs of trusted engines for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from selsa_bundle.engine import Engines
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.gate.check import GateDifference
from selsa_bundle.gate.gate import GATE_NAME, Gate, run_gate, write_gate
from selsa_bundle.manifest import GateFile
from selsa_bundle.preprocess import Preprocess
from selsa_bundle.tolerance import USUAL_TOLERANCES, GateTolerance, Precision
from selsa_export.parity.frames import procedural_frames

# The frames are small, so that a server starts quickly.
GATE_FRAMES: Final = 2
GATE_LONG_SIDE: Final = 320
GATE_SHORT_SIDE: Final = 192


def write_gate_file(folder: Path, engines: Engines, preprocess: Preprocess, origin: str) -> GateFile:
    """Write `gate.npz` into a bundle's folder.

    Args:
        engines: the engines whose outputs every runtime must reproduce.
        preprocess: of the bundle; the gate's frames are smaller.

    Raises:
        EngineError: an engine failed.
    """
    small = preprocess.model_copy(
        update={
            "long_side": min(preprocess.long_side, GATE_LONG_SIDE),
            "short_side": min(preprocess.short_side, GATE_SHORT_SIDE),
        }
    )
    prepared = [small.prepare(frame) for frame in procedural_frames(GATE_FRAMES)]
    frames = np.stack([frame.pixels for frame in prepared])
    size = np.array([frame.image_size for frame in prepared], np.int64)
    scale = np.array([frame.scale_factor for frame in prepared], np.float32)
    path = folder / GATE_NAME
    write_gate(path, Gate.of(frames, size, scale, run_gate(engines, frames, size, scale), engines.dimensions))
    tolerances: dict[Precision, GateTolerance] = {"fp32": USUAL_TOLERANCES["fp32"]}
    return GateFile(**StoredFile.of(path).model_dump(), origin=origin, tolerances=tolerances)


def tolerance_around(measured: GateDifference, precision: Precision) -> GateTolerance:
    """Twice the measured difference, because other processors round differently, but not twice as far.

    Each bound has a minimum, because a difference of 0 on this machine does not imply 0 on another one.
    """
    boxes = measured.boxes_unmatched / max(1, measured.boxes)
    detections = measured.detections_unmatched / max(1, measured.detections)
    return GateTolerance(
        partner_iou=USUAL_TOLERANCES[precision].partner_iou,
        unmatched=min(1.0, round(2 * max(boxes, detections) + 0.02, 3)),
        corner=round(2 * max(measured.boxes_corner, measured.detections_corner) + 0.5, 3),
        feature=round(2 * max(measured.features.values(), default=0.0) + 0.01, 4),
        score=min(1.0, round(2 * measured.scores + 0.02, 4)),
    )


def widest(tolerances: Sequence[GateTolerance]) -> GateTolerance:
    """The smallest tolerance that includes all of these."""
    return GateTolerance(
        partner_iou=min(each.partner_iou for each in tolerances),
        unmatched=max(each.unmatched for each in tolerances),
        corner=max(each.corner for each in tolerances),
        feature=max(each.feature for each in tolerances),
        score=max(each.score for each in tolerances),
    )

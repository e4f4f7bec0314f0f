"""How far two sets of proposals or detections of one frame agree, matched box by box.

Boxes whose scores differ by less than rounding may come in another order, so rows are never compared by
position.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.engine import Float, FrameBatch, Int
from selsa_bundle.family import Family

# Square pixels below which IoU says nothing, and pixels within which corners coincide then.
SLIVER: Final = 0.5
SAME_CORNER: Final = 0.1
# Lowest cosine of the features of one point in two precisions. Two points that predict the same object have a
# lower one.
SAME_POINT: Final = 0.95


@dataclass(slots=True, kw_only=True)
class Agreement:
    """Differences between detections that should be the same; grows frame by frame.

    Attributes:
        compared: reference detections at or above the score threshold.
        unmatched: reference detections without a partner of the same label.
        extra: candidate detections at or above the threshold without a partner.
        score: largest difference of matched scores.
        corner: largest difference of a matched corner coordinate, in pixels.
        iou: smallest IoU of a matched pair.
        score_differences: of every matched pair.
    """

    compared: int = 0
    unmatched: int = 0
    extra: int = 0
    score: float = 0.0
    corner: float = 0.0
    iou: float = 1.0
    score_differences: list[float] = field(default_factory=list)
    details: list[str] = field(default_factory=list)


def box_iou(a: Float, b: Float) -> npt.NDArray[np.float64]:
    """IoU of every box of `a` [N, 4] with every box of `b` [M, 4], xyxy in pixels: float64 [N, M]."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    top_left = np.maximum(a64[:, None, :2], b64[None, :, :2])
    bottom_right = np.minimum(a64[:, None, 2:], b64[None, :, 2:])
    overlap = np.prod(np.clip(bottom_right - top_left, 0, None), axis=-1)
    area_a, area_b = (np.prod(x[:, 2:] - x[:, :2], axis=-1) for x in (a64, b64))
    union = area_a[:, None] + area_b[None] - overlap
    iou: npt.NDArray[np.float64] = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    # Boxes clipped to a line have no area to compare; they are the same box if their corners are.
    apart = np.abs(a64[:, None] - b64[None]).max(axis=-1)
    return np.where(union < SLIVER, apart < SAME_CORNER, iou)


def match_boxes(affinity: npt.NDArray[np.float64], floor: float) -> list[tuple[int, int]]:
    """Pairs (row, column) by descending affinity, each row and column once, none below `floor`."""
    pairs: list[tuple[int, int]] = []
    rows, columns = set[int](), set[int]()
    for flat in np.argsort(-affinity, axis=None, kind="stable"):
        row, column = divmod(int(flat), affinity.shape[1])
        if affinity[row, column] < floor:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    return pairs


def compare_detections(
    agreement: Agreement,
    reference: tuple[Float, Float, Int],
    candidate: tuple[Float, Float, Int],
    *,
    threshold: float,
    iou_floor: float = 0.5,
) -> None:
    """Add one frame's differences to `agreement`.

    Args:
        agreement: changed in place.
        reference: boxes [N, 4] xyxy in pixels, scores [N] and labels [N] of the frame.
        candidate: the same, to be judged. Give it all its detections, so that one just below the threshold
            still finds its partner.
        threshold: lowest score of a detection that counts.
        iou_floor: lowest IoU at which two boxes can be partners.
    """
    boxes, scores, labels = reference
    other_boxes, other_scores, other_labels = candidate
    iou = box_iou(boxes, other_boxes) * (labels[:, None] == other_labels[None])
    # If boxes coincide, match those with similar scores.
    affinity = iou - 1e-3 * np.abs(scores[:, None].astype(np.float64) - other_scores[None])
    partner = dict(match_boxes(affinity, iou_floor)) if affinity.size else {}
    for i in np.flatnonzero(scores >= threshold):
        agreement.compared += 1
        j = partner.get(int(i))
        if j is None:
            agreement.unmatched += 1
            agreement.details.append(f"no partner: label {labels[i]} score {scores[i]:.4f} box {boxes[i]}")
            continue
        agreement.iou = min(agreement.iou, float(iou[i, j]))
        agreement.score_differences.append(abs(float(scores[i]) - float(other_scores[j])))
        agreement.score = max(agreement.score, agreement.score_differences[-1])
        agreement.corner = max(agreement.corner, float(np.abs(boxes[i] - other_boxes[j]).max()))
    taken = set(partner.values())
    agreement.extra += sum(int(j) not in taken for j in np.flatnonzero(other_scores >= threshold))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalDifference:
    """Differences between the proposals of one frame that should be the same.

    Attributes:
        total: proposals wanted.
        unmatched: proposals without a partner, on the side that has more of them.
        corner: largest difference of a partner's corner coordinate, in pixels.
        features: relative L2 of each feature over the partners.
    """

    total: int
    unmatched: int
    corner: float
    features: dict[str, float]


def compare_proposals(
    want: FrameBatch, have: FrameBatch, partner_iou: float, family: Family
) -> ProposalDifference:
    """Match the proposals of one frame (batches of one) by their boxes and compare their features.

    `want` may hold features of its first rows only; the others are not compared then. If features belong to
    points, partners must be of the same point: rounding decides which of two points that predict the same
    object is suppressed, and a proposal of the other point counts as unmatched.
    """
    mine, theirs = np.flatnonzero(want.valid[0]), np.flatnonzero(have.valid[0])
    boxes, others = want.boxes[0, mine], have.boxes[0, theirs]
    affinity = box_iou(boxes, others)
    if family.of_points:
        own, other = (side.tensors[family.appearance][0] for side in (want, have))
        affinity *= _same_point(own, other, want.valid.shape[1])[np.ix_(mine, theirs)]
    pairs = match_boxes(affinity, partner_iou) if affinity.size else []
    differences = {}
    for feature in family.features:
        wanted, found = want.tensors[feature.name], have.tensors[feature.name]
        stored = wanted.shape[feature.axis]
        rows = [(mine[i], theirs[j]) for i, j in pairs if mine[i] < stored]
        own, other = np.array(rows, np.int64).reshape(-1, 2).T
        differences[feature.name] = _relative(feature.rows(wanted, own), feature.rows(found, other))
    return ProposalDifference(
        total=len(boxes),
        unmatched=max(len(boxes), len(others)) - len(pairs),
        corner=max((float(np.abs(boxes[i] - others[j]).max()) for i, j in pairs), default=0.0),
        features=differences,
    )


def _same_point(want: Float, have: Float, rows: int) -> npt.NDArray[np.bool_]:
    """Whether features [T, C] and [P, C] are of one point: [rows, P]. Rows beyond T are not known: True."""
    cosine = (want @ have.T) / np.maximum(
        np.linalg.norm(want, axis=1)[:, None] * np.linalg.norm(have, axis=1), 1e-12
    )
    same = np.ones((rows, len(have)), np.bool_)
    same[: len(want)] = cosine >= SAME_POINT
    return same


def worst_features(differences: Sequence[ProposalDifference]) -> dict[str, float]:
    """The largest difference of each feature over several frames."""
    names = differences[0].features if differences else ()
    return {name: max(each.features[name] for each in differences) for name in names}


def _relative(want: Float, found: Float) -> float:
    """L2 of the difference, relative to the L2 of the wanted values."""
    norm = float(np.linalg.norm(want))
    return float(np.linalg.norm(want - found)) / norm if norm else 0.0

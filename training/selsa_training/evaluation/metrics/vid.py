"""AP50 as in ImageNet VID, over all objects and by their speed.

The split by speed is FGFA's (Zhu et al., ICCV 2017): for a group of objects, finding another group's object
is neither right nor wrong, and a false alarm counts for the group of the object that it overlaps most. One
that overlaps no object of its class belongs to no group; it counts in proportion to the group's share of all
objects. FGFA's code weighs such false alarms by the *ignored* share where the frame has objects of that
class; we use the group's share throughout. Its boxes are inclusive pixels (+1); ours are edges, as in
mmtracking. Ignored objects (crowds) are not FGFA's but COCO's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from selsa_training.data.motion import SPEEDS, with_known_motion
from selsa_training.data.records import DEGRADED, IGNORED, DataSet
from selsa_training.evaluation.metrics.detections import Detections
from selsa_training.evaluation.metrics.matching import CROWD, NOTHING, Matches, match_detections

Interpolation = Literal["all", "101"]
"""`all`: the area under the interpolated curve (PASCAL VOC from 2010 on, ImageNet VID). `101`: the mean of
its values at recall 0, 0.01, ... 1 (COCO)."""


def average_precision(
    scores: npt.NDArray[np.float32],
    right: npt.NDArray[np.bool_],
    wrong: npt.NDArray[np.float64],
    positives: int,
    interpolation: Interpolation = "all",
) -> float:
    """Average precision of detections of one class.

    Args:
        scores: float32 [M].
        right: bool [M], whether each found an object.
        wrong: float64 [M], how much each counts as a false positive, 0 to 1; detections that are neither
            right nor wrong do not count.
        positives: objects that were to be found.
        interpolation: how the curve is turned into a number.

    Returns:
        0 to 1; NaN if there was nothing to find.
    """
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits, misses = np.cumsum(right[order]), np.cumsum(wrong[order])
    recall = hits / positives
    precision = hits / np.maximum(hits + misses, np.finfo(np.float64).tiny)
    # At each recall the best precision at that recall or a higher one.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if interpolation == "all":
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    reached = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.append(envelope, 0.0)[reached].mean())


Mask = npt.NDArray[np.bool_]

ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class VidScores:
    """Scores in percent; NaN where there was nothing to find.

    Attributes:
        ap50: group -> mean over the classes that have objects in it; `all`, `slow`, `medium`, `fast`, and
            where objects are marked, `degraded` and `clear`.
        by_class: group -> class -> AP50.
        objects: group -> objects to be found.
    """

    ap50: dict[str, float] = field(default_factory=dict)
    by_class: dict[str, dict[str, float]] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)


def object_groups(data: DataSet) -> dict[str, Mask]:
    """bool [N] per group: all objects, those of each speed, and degraded and clear ones where any is marked.

    Speed is annotated or computed; an object seen in one frame only has none and is in `all` alone.
    """
    motion = with_known_motion(data).motion
    groups = {ALL: np.ones(data.object_count, np.bool_)}
    for name, (above, most) in SPEEDS.items():
        # FGFA: slow is above 0.9, fast below 0.7, medium what is between, both ends included.
        low = motion > above if name == "slow" else motion >= above
        groups[name] = low & (motion < most if name == "fast" else motion <= most)
    degraded = (data.flags & DEGRADED) > 0
    if degraded.any():
        groups |= {"degraded": degraded, "clear": ~degraded}
    return groups


def evaluate_vid(
    data: DataSet,
    detections: Detections,
    *,
    groups: Mapping[str, Mask] | None = None,
    interpolation: Interpolation = "all",
    per_class: int | None = None,
) -> VidScores:
    """Score detections.

    Args:
        detections: what was found, in the frames that were looked at.
        groups: which objects to score together; default `object_groups`.
        interpolation: of the precision-recall curve.
        per_class: largest number of detections that count per frame and class, the best (COCO: 100).
    """
    groups = object_groups(data) if groups is None else groups
    matches = match_detections(data, detections, per_class=per_class)
    looked_at = np.isin(data.frame_of_object, detections.frames)
    wanted = looked_at & ((data.flags & IGNORED) == 0)
    scores = VidScores()
    for name, members in groups.items():
        chosen = members & wanted
        share = chosen.sum() / max(1, wanted.sum())
        right = (matches.hit >= 0) & _lookup(chosen, matches.hit)
        wrong = _false_alarms(matches, chosen, float(share))
        by_class: dict[str, float] = {}
        for label, class_name in enumerate(data.classes):
            mine = detections.labels == label
            positives = int((chosen & (data.labels == label)).sum())
            by_class[class_name] = 100 * average_precision(
                detections.scores[mine], right[mine], wrong[mine], positives, interpolation
            )
        scores.by_class[name] = by_class
        known = [value for value in by_class.values() if not np.isnan(value)]
        scores.ap50[name] = float(np.mean(known)) if known else float("nan")
        scores.objects[name] = int(chosen.sum())
    return scores


def _false_alarms(matches: Matches, chosen: Mask, share: float) -> npt.NDArray[np.float64]:
    """How much each detection counts as a false alarm of a group: float64 [M]."""
    weight = np.where(matches.nearest == NOTHING, share, _lookup(chosen, matches.nearest))
    return np.where((matches.hit == NOTHING) & (matches.hit != CROWD), weight, 0.0)


def _lookup(mask: Mask, index: npt.NDArray[np.int64]) -> Mask:
    """`mask[index]`, False where there is no index."""
    return np.append(mask, False)[np.maximum(index, NOTHING)]

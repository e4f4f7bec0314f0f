"""Everything one set of detections scores, as a table and as JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selsa_training.data.motion import with_known_motion
from selsa_training.data.records import DataSet
from selsa_training.evaluation.metrics.coco import CocoScores, evaluate_coco
from selsa_training.evaluation.metrics.detections import Detections
from selsa_training.evaluation.metrics.vid import VidScores, evaluate_vid, object_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of one mode, in percent.

    Attributes:
        vid: ImageNet VID's AP50, with groups.
        coco: COCO's AP and AP50.
        frames: frames that were looked at.
    """

    vid: VidScores
    coco: CocoScores
    frames: int
    detections: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN becomes None."""
        cleaned: dict[str, Any] = _without_nan(asdict(self))
        return cleaned


def evaluate(data: DataSet, detections: Detections) -> Scores:
    """Score detections by every metric.

    Args:
        detections: what was found, in the frames that were looked at.
    """
    data = with_known_motion(data)
    return Scores(
        vid=evaluate_vid(data, detections, groups=object_groups(data)),
        coco=evaluate_coco(data, detections),
        frames=len(detections.frames),
        detections=len(detections.frame),
    )


def mode_table(modes: Mapping[str, Scores]) -> str:
    """A line per mode, side by side: VID AP50 of every group, then COCO's numbers."""
    groups = list(next(iter(modes.values())).vid.ap50)
    header = f"{'AP50':24}" + "".join(f"{name:>10}" for name in (*groups, "COCO AP50", "COCO AP"))
    lines = [header]
    for name, scores in modes.items():
        values = [*(scores.vid.ap50[group] for group in groups), scores.coco.ap50, scores.coco.ap]
        lines.append(f"{name:24}" + "".join(f"{number(value):>10}" for value in values))
    return "\n".join(lines)


def class_table(scores: Scores) -> str:
    """A line per class: VID AP50 of every group."""
    groups = list(scores.vid.by_class)
    lines = [f"{'class':24}" + "".join(f"{name:>10}" for name in groups)]
    for name in scores.vid.by_class[groups[0]]:
        values = (scores.vid.by_class[group][name] for group in groups)
        lines.append(f"{name:24}" + "".join(f"{number(value):>10}" for value in values))
    return "\n".join(lines)


def write_scores(path: Path, modes: Mapping[str, Scores], about: Mapping[str, Any]) -> None:
    """Write scores of several modes as JSON; the file appears complete or not at all.

    Args:
        modes: name -> scores.
        about: what was scored on what: checkpoint, data, seed.

    Raises:
        OSError: the file cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(scores_document(modes, about))
    part.replace(path)


def scores_document(modes: Mapping[str, Scores], about: Mapping[str, Any]) -> bytes:
    """What `write_scores` writes; NaN becomes null, in `about` too."""
    content = _without_nan({**about, "modes": {name: scores.as_dict() for name, scores in modes.items()}})
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def number(value: float) -> str:
    """A score in a table; `-` where there was nothing to find."""
    return "-" if math.isnan(value) else f"{value:.1f}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value

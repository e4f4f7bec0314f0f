"""Sequence mode's AP50 against the number of reference frames, and of proposals."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from selsa_training.evaluation.metrics.scores import number
from selsa_training.evaluation.metrics.vid import VidScores
from selsa_training.evaluation.variants import Variant

CurveName = Literal["reference_frames", "proposals"]
CURVES: Final[tuple[CurveName, ...]] = ("reference_frames", "proposals")
REFERENCE_FRAMES: Final = (0, 1, 2, 4, 8, 14, 30)
FEWEST_PROPOSALS: Final = 8

Curve = Mapping[int, VidScores]
"""Value on the axis, ascending -> scores."""


def curve_variants(curve: CurveName, references: int, proposals: int) -> dict[int, Variant]:
    """The points of a curve: value on the axis -> variant to run.

    Args:
        curve: the varied quantity.
        references: number of reference frames if they are not varied.
        proposals: P of the engines; the curve has the powers of two up to P.
    """
    if curve == "reference_frames":
        return {count: Variant(references=count) for count in REFERENCE_FRAMES}
    values, value = [], FEWEST_PROPOSALS if proposals > FEWEST_PROPOSALS else 1
    while value < proposals:
        values.append(value)
        value *= 2
    fewer = {count: Variant(references=references, proposals=count) for count in values}
    return fewer | {proposals: Variant(references=references)}


def curve_table(name: CurveName, curve: Curve) -> str:
    """One line per point: VID AP50 of every group."""
    groups = list(next(iter(curve.values())).ap50)
    lines = [f"{name.replace('_', ' '):24}" + "".join(f"{group:>10}" for group in groups)]
    for value, scores in curve.items():
        lines.append(f"{value:<24}" + "".join(f"{number(scores.ap50[group]):>10}" for group in groups))
    return "\n".join(lines)


def curve_as_list(curve: Curve) -> list[dict[str, Any]]:
    """The curve for JSON: one record per point."""
    return [{"value": value, "ap50": dict(scores.ap50)} for value, scores in curve.items()]

"""The variants that one evaluation compares, and their scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from selsa_training.data.motion import with_known_motion
from selsa_training.data.records import DataSet
from selsa_training.evaluation.curves import Curve, CurveName, curve_variants
from selsa_training.evaluation.metrics.detections import Detections
from selsa_training.evaluation.metrics.scores import Scores, evaluate
from selsa_training.evaluation.metrics.tracking import TrackScores, evaluate_tracks
from selsa_training.evaluation.metrics.vid import VidScores, evaluate_vid, object_groups
from selsa_training.evaluation.variants import Mode, Variant, variant_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Modes and curves, all computed from the same frame features.

    Attributes:
        modes: mode -> its variant.
        curves: curve -> value on its axis -> variant.
    """

    modes: Mapping[Mode, Variant]
    curves: Mapping[CurveName, Mapping[int, Variant]]

    @property
    def variants(self) -> list[Variant]:
        """All variants without duplicates; a point of a curve can be a mode too."""
        points = (variant for curve in self.curves.values() for variant in curve.values())
        return list(dict.fromkeys((*self.modes.values(), *points)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Scores of every mode and of every point of every curve, and of the modes' tracks if asked for."""

    modes: Mapping[str, Scores]
    curves: Mapping[CurveName, Curve]
    tracks: Mapping[str, TrackScores]


def compare(
    modes: Sequence[Mode], curves: Sequence[CurveName], *, references: int, proposals: int
) -> Comparison:
    """A comparison.

    Args:
        references: number of reference frames of the modes, and of the curve over proposals.
        proposals: P of the engines.
    """
    return Comparison(
        modes={mode: variant_of(mode, references) for mode in modes},
        curves={curve: curve_variants(curve, references, proposals) for curve in curves},
    )


def score(
    data: DataSet,
    comparison: Comparison,
    found: Mapping[Variant, Detections],
    *,
    tracks: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Outcome:
    """Score detections: modes with every metric, curves with ImageNet VID's AP50 only.

    Args:
        tracks: whether to link the detections of each mode and score the tracks.
        progress: called with (scored variants, all variants).
    """
    data = with_known_motion(data)
    groups = object_groups(data)
    by_mode: dict[Variant, Scores] = {}
    known: dict[Variant, VidScores] = {}
    for done, variant in enumerate(comparison.variants):
        # A point of a curve is often a mode too; it is scored once.
        if variant in comparison.modes.values():
            by_mode[variant] = evaluate(data, found[variant])
            known[variant] = by_mode[variant].vid
        else:
            known[variant] = evaluate_vid(data, found[variant], groups=groups)
        progress(done + 1, len(comparison.variants))
    modes: dict[str, Scores] = {mode: by_mode[variant] for mode, variant in comparison.modes.items()}
    curves = {
        name: {value: known[variant] for value, variant in points.items()}
        for name, points in comparison.curves.items()
    }
    linked: dict[str, TrackScores] = (
        {mode: evaluate_tracks(data, found[variant]) for mode, variant in comparison.modes.items()}
        if tracks
        else {}
    )
    return Outcome(modes=modes, curves=curves, tracks=linked)

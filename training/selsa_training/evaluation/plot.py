"""Curves as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from selsa_training.evaluation.curves import Curve, CurveName

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES: Final[dict[CurveName, str]] = {
    "reference_frames": "reference frames",
    "proposals": "proposals per frame",
}
# Colour-blind safe (Okabe and Ito); markers and dashes differ too.
STYLES: Final[dict[str, tuple[str, str, str]]] = {
    "all": ("#000000", "o", "-"),
    "clear": ("#009e73", "^", "--"),
    "slow": ("#0072b2", "s", "-."),
    "fast": ("#d55e00", "D", "-."),
    "degraded": ("#cc79a7", "v", "--"),
}


def plot_curves(path: Path, curves: Mapping[CurveName, Curve], title: str) -> None:
    """Draw each curve beside the others: AP50 of all objects, slow and fast, clear and degraded ones.

    Args:
        path: the picture; its suffix chooses the format.
        curves: at least one.
        title: model and data set.

    Raises:
        OSError: the file cannot be written.
    """
    # Without pyplot, which has global state and may open a window.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(curves) + 1.2, 4.2), dpi=150, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        _draw(axes, name, curve)
    panels[0].set_ylabel("AP50, sequence mode")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path)


def _draw(axes: "Axes", name: CurveName, curve: Curve) -> None:
    values = list(curve)
    for group, (colour, marker, dash) in STYLES.items():
        scores = [scores.ap50.get(group, float("nan")) for scores in curve.values()]
        if not np.isnan(scores).all():
            axes.plot(values, scores, color=colour, marker=marker, linestyle=dash, markersize=5, label=group)
    # The values double from point to point. `symlog` also has a place for 0 reference frames.
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.7)
    axes.set_xticks(values, labels=[str(value) for value in values])
    axes.minorticks_off()
    axes.set_xlabel(AXES[name])
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)

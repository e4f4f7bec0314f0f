"""The style of the pictures, which matplotlib draws."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.report.output import check_output, write_whole
from selsa_server.bench.ways import BenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours for the colour-blind, ordered so that neighbours differ in lightness, too.
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
GREY: Final = "#8a8f98"
SUFFIXES: Final = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Refuse a picture that cannot be drawn before anything is measured.

    Raises:
        BenchError: matplotlib is not installed, or the file cannot be written or has another suffix.
    """
    if find_spec("matplotlib") is None:
        raise BenchError("a picture needs matplotlib: pip install matplotlib")
    if path.suffix not in SUFFIXES:
        raise BenchError(f"the picture is {path}; allowed are files that end in {', '.join(SUFFIXES)}")
    check_output(path)


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of that many inches, without pyplot and its global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def tidy(axes: "Axes", *, grid: str) -> None:
    """Remove lines that carry no information; draw `grid` lines on the axis of the values, `x` or `y`."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="x" if grid == "x" else "y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write the picture.

    Raises:
        BenchError: the file cannot be written.
    """
    write_whole(path, figure.savefig)

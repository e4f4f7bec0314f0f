"""How pictures of figures look, and where matplotlib comes from."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from selsa_server.bench.errors import BenchError
from selsa_server.bench.output import check_output, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by the colour-blind (Okabe and Ito), in an order in which neighbours differ in lightness too.
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
GREY: Final = "#8a8f98"
SUFFIXES: Final = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Refuse a picture that cannot be drawn, before anything is measured.

    Raises:
        BenchError: matplotlib is not installed, or the file is of a kind or at a place that cannot be.
    """
    if find_spec("matplotlib") is None:
        raise BenchError("--plot needs matplotlib: pip install 'selsa[plot]'")
    if path.suffix not in SUFFIXES:
        raise BenchError(f"--plot is {path}; allowed are files that end in {', '.join(SUFFIXES)}")
    check_output(path)


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of that many inches. Without pyplot: no window, no state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def tidy(axes: "Axes", *, grid: str) -> None:
    """Nothing that carries no information; `grid` lines across the values' axis, `x` or `y`."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="x" if grid == "x" else "y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write the picture.

    Raises:
        BenchError: the file cannot be written.
    """
    write_whole(path, figure.savefig)

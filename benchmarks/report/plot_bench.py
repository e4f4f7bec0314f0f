"""Draws a report of `selsa bench --json`: python -m benchmarks.report.plot_bench REPORT.json PICTURE.png

Left: what a frame costs. Right, where several numbers of clients were measured: frames per second.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report.picture import COLOURS, GREY, check_picture, new_figure, save_figure, tidy
from selsa_server.bench.ways import BenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Report = dict[str, Any]
BARS: Final = {
    "sequence_engine": "sequence engine, one key frame",
    "frame_engine": "frame engine, one frame",
    "pipeline": "pipeline, file to detections",
    "server_1": "server, one client",
}
MARKERS: Final = "osD^vPX"
# Thickness of all bars of one way; the rest is the gap to the next.
BAR: Final = 0.8


def plot_report(path: Path, report: Report) -> None:
    """Draw everything that was measured.

    Raises:
        BenchError: the file cannot be written.
    """
    bars = [part for part in BARS if any(part in way["seconds"] for way in report["ways"])]
    curves = any(len(_clients(way)) > 1 for way in report["ways"])
    height = 1.6 + 0.28 * len(report["ways"]) * (len(bars) + 1)
    figure = new_figure(6.4 * (bool(bars) + curves), max(4.0, height))
    panels = figure.subplots(1, bool(bars) + curves, squeeze=False)[0]
    if bars:
        _costs(figure, panels[0], report["ways"], bars)
    if curves:
        _throughput(panels[-1], report["ways"])
    figure.suptitle(
        f"{report['video']}\n{report['machine']['processor']}, {report['machine']['cores']} cores, "
        f"medians and range of {report['rounds']} rounds",
        fontsize=9,
    )
    save_figure(figure, path)


def _costs(figure: "Figure", axes: "Axes", ways: Sequence[Report], bars: Sequence[str]) -> None:
    thickness = BAR / len(bars)
    for number, part in enumerate(bars):
        having = [
            (position, way["seconds"][part]) for position, way in enumerate(ways) if part in way["seconds"]
        ]
        middle = [position - BAR / 2 + (number + 0.5) * thickness for position, _ in having]
        medians = [1e3 * spread["median"] for _, spread in having]
        drawn = axes.barh(
            middle,
            medians,
            thickness * 0.9,
            xerr=_whiskers([spread for _, spread in having], 1e3),
            color=COLOURS[number],
            error_kw={"elinewidth": 0.8, "capsize": 2, "ecolor": "#444444"},
            label=BARS[part],
        )
        axes.bar_label(drawn, [f"{median:.3g}" for median in medians], padding=4, fontsize=8)
    axes.set_yticks(range(len(ways)), labels=[_name(way).replace(", ", "\n", 1) for way in ways], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds a frame", fontsize=9)
    axes.margins(x=0.12)
    tidy(axes, grid="x")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", frameon=False, ncols=2, fontsize=8
    )


def _throughput(axes: "Axes", ways: Sequence[Report]) -> None:
    counts = sorted({count for way in ways for count in _clients(way)})
    for number, way in enumerate(ways):
        points = sorted(_clients(way).items())
        rates = [1 / spread["median"] for _, spread in points]
        below = [rate - 1 / spread["highest"] for rate, (_, spread) in zip(rates, points, strict=True)]
        above = [1 / spread["lowest"] - rate for rate, (_, spread) in zip(rates, points, strict=True)]
        axes.errorbar(
            [count for count, _ in points],
            rates,
            yerr=(below, above),
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            capsize=2,
            elinewidth=0.8,
            label=_name(way),
        )
        if "pipeline" in way["seconds"]:
            alone = 1 / way["seconds"]["pipeline"]["median"]
            axes.axhline(alone, color=COLOURS[number % len(COLOURS)], linestyle=":", linewidth=1)
    if any("pipeline" in way["seconds"] for way in ways):
        axes.plot([], [], color=GREY, linestyle=":", linewidth=1, label="its pipeline, without HTTP")
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, labels=[str(count) for count in counts])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("clients at the same time", fontsize=9)
    axes.set_ylabel("frames a second, all together", fontsize=9)
    tidy(axes, grid="y")
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _whiskers(spreads: Sequence[Report], unit: float) -> tuple[list[float], list[float]]:
    """Distances from the medians down to the lowest and up to the highest."""
    below = [unit * (spread["median"] - spread["lowest"]) for spread in spreads]
    above = [unit * (spread["highest"] - spread["median"]) for spread in spreads]
    return below, above


def _clients(way: Report) -> dict[int, Report]:
    """Seconds per frame of the server, by number of clients."""
    parts = ((name.removeprefix("server_"), spread) for name, spread in way["seconds"].items())
    return {int(count): spread for count, spread in parts if count.isdecimal()}


def _name(way: Report) -> str:
    provider = way["provider"].removesuffix("ExecutionProvider")
    threads = f", {way['threads']} threads" if way["threads"] else ""
    return f"{way['model']}, {provider} {way['precision']}{threads}, batch {way['batch']}"


if __name__ == "__main__":
    source, picture = map(Path, sys.argv[1:])
    try:
        check_picture(picture)
        plot_report(picture, json.loads(source.read_bytes()))
    except (BenchError, OSError) as error:
        sys.exit(f"error: {error}")

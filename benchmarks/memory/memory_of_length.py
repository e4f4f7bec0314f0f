"""Peak resident memory of detection against the length of the video.

    python -m benchmarks.memory.memory_of_length [--bundle BUNDLE] [--lengths 100 300 1000] [--size 160x90]
        [--json FILE] [--plot FILE.png]

For each length a new process runs `selsa detect --local`, and a new `selsa serve` takes the same file in one
POST and streams its records. Each figure is the sum of the peaks of the process and of those that it started.
Without a bundle, the packaged one is measured.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.memory.peak_memory import peak_of_local, peak_of_server
from benchmarks.report.output import check_output, write_json
from benchmarks.report.picture import COLOURS, check_picture, new_figure, save_figure, tidy
from selsa_bundle.default_bundle import bundle_folder, synthetic_bundle
from selsa_bundle.manifest import Manifest
from selsa_server.bench.machine import Machine
from selsa_server.bench.sample_video import write_sample_video
from selsa_server.bench.ways import BenchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """MB at the most, for a video of so many frames."""

    frames: int
    local: float
    server: float


def measure(bundle: Path, lengths: list[int], size: tuple[int, int], references: int) -> Iterator[Peaks]:
    """The peaks for each length, as they are measured."""
    with tempfile.TemporaryDirectory() as folder:
        for frames in lengths:
            video = Path(folder) / f"{frames}.mp4"
            write_sample_video(video, frames, width=size[0], height=size[1])
            yield Peaks(
                frames=frames,
                local=round(peak_of_local(bundle, video, references), 1),
                server=round(peak_of_server(bundle, video, references), 1),
            )


def plot(path: Path, rows: list[Peaks], title: str) -> None:
    """Both curves over a logarithmic axis of lengths, from zero memory up."""
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    lengths = [row.frames for row in rows]
    curves = (
        ("selsa detect --local", [row.local for row in rows], COLOURS[0], "o"),
        ("selsa serve, one POST", [row.server for row in rows], COLOURS[5], "s"),
    )
    for name, peaks, colour, marker in curves:
        axes.plot(lengths, peaks, color=colour, marker=marker, markersize=5, label=name)
        axes.annotate(
            f"{peaks[-1]:.0f} MB", (lengths[-1], peaks[-1]), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_xscale("log")
    axes.set_xticks(lengths, labels=[f"{length:,}" for length in lengths])
    axes.minorticks_off()
    axes.set_xlim(lengths[0] * 0.85, lengths[-1] * 1.7)
    axes.set_ylim(0, 1.35 * max(max(row.local, row.server) for row in rows))
    axes.set_xlabel("frames of the video")
    axes.set_ylabel("peak resident memory, MB")
    axes.set_title(title, fontsize=10)
    tidy(axes, grid="y")
    axes.legend(frameon=False, loc="upper left", ncols=2)
    save_figure(figure, path)


def main() -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bundle", type=bundle_folder)
    parser.add_argument("--lengths", type=int, nargs="+", default=[100, 300, 1000, 3000, 10_000])
    parser.add_argument("--size", default="160x90")
    parser.add_argument("--references", type=int, default=14)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    try:
        if given.json is not None:
            check_output(given.json)
        if given.plot is not None:
            check_picture(given.plot)
    except BenchError as error:
        parser.error(str(error))
    width, height = map(int, given.size.split("x"))
    bundle, machine = given.bundle or synthetic_bundle(), Machine.here()
    name = Manifest.read(bundle).name
    print(machine, "", f"{name}, {width}x{height}", "frames   local MB   server MB", sep="\n")
    rows: list[Peaks] = []
    for row in measure(bundle, given.lengths, (width, height), given.references):
        print(f"{row.frames:6}   {row.local:8.1f}   {row.server:9.1f}", flush=True)
        rows.append(row)
        # After each length: the longest takes most of the time.
        write(given, machine, name, rows)


def write(given: argparse.Namespace, machine: Machine, name: str, rows: list[Peaks]) -> None:
    """The figures and their picture, where they were asked for."""
    if given.json is not None:
        described = {"machine": machine, "command": sys.argv[1:], "bundle": name, "size": given.size}
        write_json(
            given.json,
            {**described, "references": given.references, "peaks": [asdict(row) for row in rows]},
        )
    if given.plot is not None:
        plot(given.plot, rows, f"{name}, {given.size}, {given.references} reference frames")


if __name__ == "__main__":
    main()

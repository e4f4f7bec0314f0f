"""Computes the tables of docs/scaling.md from figures that were measured: python docs/scaling_page.py

They are written between the page's marks; a test compares them, so that no number there is typed by hand.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from marked import with_part

__all__ = ["PAGE", "scaling_page"]

PAGE: Final = Path(__file__).with_name("scaling.md")
HOURS: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
FRAMES_PER_SECOND: Final = 25
# Video comes by day more than by night, and a machine that is always full has a queue without end.
BUSY: Final = 0.7
HOST_CORES: Final = 64
# Of the large models: proposals, feature width, stages of key and value; a frame of 1920x1080 resized.
PROPOSALS, WIDTH, MEMORIES = 300, 1024, 4
INPUT_WIDTH, INPUT_HEIGHT = 1008, 576


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure that sizes are computed from, and what gave it."""

    name: str
    value: float
    unit: str
    source: str


FRAME_ENGINE: Final = Figure(
    name="frame engine, R-50, on a CPU",
    value=2 * 1.075,
    unit="core-seconds a frame",
    source="2 x 1,075 ms; `selsa bench`, fp32, one frame; R-50 in [benchmarks](../benchmarks/README.md)",
)
SEQUENCE_ENGINE: Final = Figure(
    name="sequence engine, R-50, on a CPU",
    value=2 * 0.123,
    unit="core-seconds a key frame",
    source="2 x 123 ms; the same run, two cores",
)
DECODE: Final = Figure(
    name="everything but engines, 1920x1080 H.264",
    value=0.0093,
    unit="core-seconds a frame",
    source="`python tests/cluster/scaling.py decode --frames 60 --rounds 3`, procedural video",
)
SENT: Final = Figure(
    name="a frame sent to a replica",
    value=INPUT_WIDTH * INPUT_HEIGHT * 3,
    unit="bytes",
    source=f"{INPUT_WIDTH}x{INPUT_HEIGHT}x3, the engine's input for 1920x1080",
)
RETURNED: Final = Figure(
    name="its outputs sent back",
    value=4 * PROPOSALS * ((MEMORIES + 1) * WIDTH + 4) + PROPOSALS,
    unit="bytes",
    source="`boxes`, `valid`, `queries` and `memory` of the tensor contract, R-50",
)
RESULTS: Final = Figure(
    name="results, NDJSON",
    value=970,
    unit="bytes a frame",
    source="`selsa batch server/selsa_bundle/sample.mp4 -o out`: 145,531 for 150 frames; Parquet 37,708",
)
FIGURES: Final = (FRAME_ENGINE, SEQUENCE_ENGINE, DECODE, SENT, RETURNED, RESULTS)
# Not measured: what cameras and archives often have.
VIDEO_BITS: Final = 5_000_000


def scaling_page(page: str) -> str:
    """The page with its tables as they should be."""
    page = with_part(page, "figures", _figures())
    return with_part(page, "sizes", _sizes())


def _figures() -> Iterator[str]:
    yield "| figure | | from |"
    yield "|---|---|---|"
    for each in FIGURES:
        yield f"| {each.name} | {each.value:,.10g} {each.unit} | {each.source} |"


def _sizes() -> Iterator[str]:
    heads = (
        "hours of video a day",
        "frames/s at peak",
        "GPUs of 100 frames/s",
        "or CPU cores of frame engines",
        "decode cores",
        "sequence engine cores",
        f"ingress hosts of {HOST_CORES} cores",
        "Gbit/s to and from replicas",
        "TB of video a day",
        "TB of results a day",
    )
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for hours in HOURS:
        yield "| " + " | ".join(_size(hours)) + " |"


def _size(hours: int) -> tuple[str, ...]:
    frames_a_day = hours * 3600 * FRAMES_PER_SECOND
    rate = frames_a_day / 86_400 / BUSY
    ingress_cores = rate * (DECODE.value + SEQUENCE_ENGINE.value)
    return (
        f"{hours:,}",
        _number(rate),
        f"{ceil(rate / 100):,}",
        _number(rate * FRAME_ENGINE.value),
        _number(rate * DECODE.value),
        _number(rate * SEQUENCE_ENGINE.value),
        f"{max(2, ceil(ingress_cores / HOST_CORES)):,}",
        _number(rate * (SENT.value + RETURNED.value) * 8 / 1e9),
        _number(hours * 3600 * VIDEO_BITS / 8 / 1e12),
        _number(frames_a_day * RESULTS.value / 1e12),
    )


def _number(value: float) -> str:
    """Two digits that mean something."""
    if value >= 100:
        return f"{round(value, 2 - len(str(int(value)))):,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


if __name__ == "__main__":
    sys.stdout.write(f"{PAGE}\n")
    PAGE.write_text(scaling_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""Writes docs/scaling.md from docs/scaling.in.md and figures that were measured: python docs/scaling_page.py

A test compares the page with what this makes, so that no number in its tables is typed by hand.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

__all__ = ["Demand", "Measured", "scaling_page"]

PAGE: Final = Path(__file__).with_name("scaling.md")
TEXT: Final = Path(__file__).with_name("scaling.in.md")
HOURS: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
FRAMES_PER_SECOND: Final = 25
# Video comes by day more than by night, and a machine that is always full has a queue without end.
BUSY: Final = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one machine did, and by which command.

    Attributes:
        frame_engine: core-seconds of the frame engine for a frame.
        sequence_engine: core-seconds of the sequence engine for a key frame.
        decode: core-seconds of decoding and all else for a frame of 1920x1080.
        sent: bytes of a frame on its way to a replica.
        returned: bytes of what the frame engine knows of a frame on their way back.
        stored: bytes of results for a frame.
        compressed: bytes of a frame in the video itself.
    """

    frame_engine: float = 2 * 0.655
    sequence_engine: float = 2 * 0.066
    decode: float = 0.0093
    sent: int = 1008 * 576 * 3
    returned: int = (2 * 2 * 300 * 1024 + 300 * 1024 + 300 * 4) * 4 + 300
    stored: int = 970
    compressed: int = 5_000_000 // 8 // FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What so many hours of video a day ask for."""

    hours: int
    measured: Measured

    @property
    def frames(self) -> float:
        """A second, at peak."""
        return self.hours * 3600 * FRAMES_PER_SECOND / 86_400 / BUSY

    def row(self) -> str:
        """The table's row."""
        measured = self.measured
        frame_cores = self.frames * measured.frame_engine
        other_cores = self.frames * (measured.decode + measured.sequence_engine)
        network = self.frames * (measured.sent + measured.returned) * 8 / 1e9
        day = self.hours * 3600 * FRAMES_PER_SECOND
        cells = (
            f"{self.hours:,}",
            _number(self.frames),
            f"{ceil(self.frames / 100):,}",
            _number(frame_cores),
            _number(self.frames * measured.decode),
            _number(self.frames * measured.sequence_engine),
            f"{max(2, ceil(other_cores / 64)):,}",
            _number(network),
            _number(day * measured.compressed / 1e12),
            _number(day * measured.stored / 1e12),
        )
        return "| " + " | ".join(cells) + " |"


def scaling_page() -> str:
    """The page, as it should be."""
    text = TEXT.read_text(encoding="utf-8")
    measured = Measured()
    return text.replace("{{sizing}}", "\n".join(_table(measured))).replace(
        "{{returned}}", _mb(measured.returned)
    )


def _table(measured: Measured) -> Iterator[str]:
    yield (
        "| hours of video a day | frames/s at peak | GPUs, for each 100 frames/s that one does "
        "| or CPU cores of frame engines | decode cores | sequence engine cores | ingress hosts of 64 cores "
        "| Gbit/s to and from replicas | TB of video a day | TB of results a day |"
    )
    yield "|" + "---|" * 10
    for hours in HOURS:
        yield Demand(hours=hours, measured=measured).row()


def _number(value: float) -> str:
    """Two digits that mean something, and none more."""
    if value >= 100:
        digits = len(str(int(value))) - 2
        return f"{round(value, -digits):,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _mb(value: int) -> str:
    return f"{value / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.stdout.write(f"{PAGE}\n")
    PAGE.write_text(scaling_page(), encoding="utf-8")

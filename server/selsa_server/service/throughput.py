"""How fast the server works: video-seconds per second, measured while it works on any video."""

import math
from typing import Final

# What a new measurement leaves of those before it.
KEEP: Final = 0.8


class Throughput:
    """A moving average over finished videos. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._work = 0.0
        self._busy = 0.0
        self._fresh = 0.0
        self._running = 0
        self._since = 0.0

    @property
    def rate(self) -> float | None:
        """Video-seconds per second; None before anything was measured."""
        return self._work / self._busy if self._work > 0 and self._busy > 0 else None

    def started(self, now: float) -> None:
        """Work on a video begins."""
        self._count_busy(now)
        self._running += 1

    def finished(self, now: float, work: float) -> None:
        """Work on a video ends; `work` video-seconds of it were done."""
        self._count_busy(now)
        self._running -= 1
        if work > 0:
            self._work = KEEP * self._work + work
            self._busy, self._fresh = KEEP * self._busy + self._fresh, 0.0

    def seconds_for(self, work: float, unknown: int) -> int:
        """Whole seconds, 1 to 3600, that `work` video-seconds take; `unknown` before anything is measured."""
        if self.rate is None:
            return unknown
        return min(3600, max(1, math.ceil(work / self.rate)))

    def _count_busy(self, now: float) -> None:
        if self._running:
            self._fresh += now - self._since
        self._since = now

"""Where the time of a run goes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Stopwatch:
    """Seconds spent per part. Parts that run in different threads overlap; each part is one thread's.

    Args:
        parts: shown even if no time is counted for them.
    """

    def __init__(self, parts: Sequence[str] = ()) -> None:
        self._seconds = dict.fromkeys(parts, 0.0)
        self.begun = time.perf_counter()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the block as part of `part`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - begun)

    def add(self, part: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        self._seconds[part] = self._seconds.get(part, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """Seconds per part since this was made, or since the last call."""
        taken = self._seconds
        self._seconds = dict.fromkeys(taken, 0.0)
        return taken

    @property
    def elapsed(self) -> float:
        """Seconds since this was made."""
        return round(time.perf_counter() - self.begun, 6)

    @property
    def parts(self) -> dict[str, float]:
        """Seconds per part so far."""
        return {part: round(max(0.0, seconds), 6) for part, seconds in self._seconds.copy().items()}

"""Where the time of the request at hand went, for whoever stands around it and wants to know."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestTimings:
    """What was noted.

    Attributes:
        begun: `time.perf_counter()` when detection began; None when it did not.
        parts: seconds per part, totals of parts that run in pieces and overlap.
    """

    begun: float | None = None
    parts: dict[str, float] = field(default_factory=dict)


_current: ContextVar[RequestTimings | None] = ContextVar("timings of the request", default=None)


@contextmanager
def collect_timings() -> Iterator[RequestTimings]:
    """What is noted inside the block, in this task and those that it starts."""
    timings = RequestTimings()
    token = _current.set(timings)
    try:
        yield timings
    finally:
        _current.reset(token)


def note_timings(begun: float, parts: Mapping[str, float]) -> None:
    """Seconds per part of a detection that began at `begun`; nothing happens where nobody collects them."""
    timings = _current.get()
    if timings is not None:
        timings.begun = begun
        timings.parts = dict(parts)

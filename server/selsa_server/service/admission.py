"""Admission: how many requests are inside, how many detect at once, and how much work may wait."""

import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio

from selsa_server.errors import OverloadError
from selsa_server.run_context import Progress
from selsa_server.service.draining import Drain
from selsa_server.settings import AdmissionSettings

# Weight of earlier measurements after a new one.
KEEP: Final = 0.8


@dataclass(slots=True, eq=False)
class Place:
    """One request's place: its work in video-seconds (0 until the video is indexed), and its progress."""

    work: float = 0.0
    progress: Progress = field(default_factory=Progress)

    @property
    def left(self) -> float:
        """Video-seconds of work left."""
        total = self.progress.total
        return self.work * (self.progress.left / total) if total else self.work


class Throughput:
    """Video-seconds per second, as a moving average over finished videos. Times are seconds of one clock."""

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


class Admission:
    """Places for requests, and turns to detect for those that have one."""

    def __init__(self, limits: AdmissionSettings, drain: Drain) -> None:
        self._limits = limits
        self._drain = drain
        self._places: set[Place] = set()
        self._uploads = 0
        self._running = 0
        self._turns = anyio.Semaphore(limits.max_concurrent)
        self._throughput = Throughput()
        # Separate from anyio's default threads, so that spooling never waits for inference.
        self.threads = anyio.CapacityLimiter(limits.max_concurrent)
        self.index_threads = anyio.CapacityLimiter(limits.max_concurrent)

    @property
    def inside(self) -> int:
        """Requests that upload or hold a place."""
        return self._uploads + len(self._places)

    @property
    def running(self) -> int:
        """Requests that detect."""
        return self._running

    @property
    def full(self) -> bool:
        """Whether the next request has to wait for a turn."""
        return self._running >= self._limits.max_concurrent

    @property
    def queued_seconds(self) -> float:
        """Video-seconds of admitted work that is not done."""
        return sum(place.left for place in self._places)

    @contextmanager
    def upload(self) -> Iterator[None]:
        """An upload. It takes no place, so that slow clients leave the places to others.

        Raises:
            OverloadError: all places are taken, or the server is ending.
        """
        self._drain.check()
        self._check_places()
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for a request whose upload is complete, until its response is sent.

        Raises:
            OverloadError: all places are taken.
        """
        self._check_places()
        place = Place()
        self._places.add(place)
        try:
            yield place
        finally:
            self._places.discard(place)

    def _check_places(self) -> None:
        most = self._limits.max_concurrent + self._limits.max_queued
        if len(self._places) >= most:
            # A place becomes free when the first request inside is done.
            wait = self._wait(self.queued_seconds / most)
            raise OverloadError(
                f"The server is busy with {most} other requests; send the video again in {wait} s.", wait
            )

    def accept(self, place: Place, work: float) -> None:
        """Queue `work` video-seconds for a place.

        Raises:
            OverloadError: too much waits already.
        """
        waiting, most = self.queued_seconds, self._limits.max_queue_seconds
        if waiting > 0 and waiting + work > most:
            wait = self._wait(min(waiting, waiting + work - most))
            raise OverloadError(
                f"{waiting:.0f} s of video are waiting, and this video has {work:.0f} s; at most "
                f"{most:.0f} s may wait. Send the video again in {wait} s.",
                wait,
            )
        place.work = work

    @asynccontextmanager
    async def turn(self, place: Place) -> AsyncIterator[None]:
        """The right to detect, first come, first served."""
        async with self._turns:
            self._running += 1
            self._throughput.started(time.monotonic())
            try:
                yield
            finally:
                self._running -= 1
                self._throughput.finished(time.monotonic(), place.work - place.left)

    def _wait(self, work: float) -> int:
        return self._throughput.seconds_for(work, self._limits.retry_after)

"""How many requests are let in, and how many of them detect at once. Both are bounded."""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from selsa_server.errors import OverloadError

__all__ = ["Admission"]


class Admission:
    """Places for requests: `concurrent` that detect and `queued` more that upload or wait for their turn."""

    def __init__(self, *, concurrent: int, queued: int, retry_after: int) -> None:
        self._places = concurrent + queued
        self._retry_after = retry_after
        self._inside = 0
        self._turns = anyio.Semaphore(concurrent)
        # Its threads are in addition to anyio's own, so that spooling never waits for inference.
        self.threads = anyio.CapacityLimiter(concurrent)

    @property
    def inside(self) -> int:
        """Requests that hold a place."""
        return self._inside

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request, from before its upload until its response is sent.

        Raises:
            OverloadError: all are taken.
        """
        if self._inside >= self._places:
            wait = math.ceil(self._retry_after)
            raise OverloadError(
                f"The server works on {self._places} requests already; send the video again in {wait} s.",
                wait,
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The right to detect, in the order of asking."""
        async with self._turns:
            yield

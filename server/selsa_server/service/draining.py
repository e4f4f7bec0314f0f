"""Draining: no new work; running requests finish, or end with an error when the time is over."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import anyio

from selsa_server.errors import DetectError, OverloadError

T = TypeVar("T")

LOOK_SECONDS: Final = 0.1
# After the drain's own time, for last records to reach their clients.
GRACE_SECONDS: Final = 2.0


class Drain:
    """Whether the server is ending, and until when requests may run.

    `begin` may be called from a signal handler; everything else belongs to the event loop.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._scopes: set[anyio.CancelScope] = set()
        self._ends: float | None = None
        self.started = False

    def begin(self) -> None:
        """Refuse new work."""
        self.started = True

    def check(self) -> None:
        """Refuse new work while the server ends.

        Raises:
            OverloadError: the server is ending.
        """
        if self.started:
            wait = max(1, round(self._timeout))
            raise OverloadError(
                f"The server is ending; send the video again in {wait} s.", wait, code="draining"
            )

    @contextmanager
    def ending(self, scope: anyio.CancelScope) -> Iterator[None]:
        """End `scope` with the drain, as long as the block lasts."""
        if self._ends is not None:
            scope.deadline = min(scope.deadline, self._ends)
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)

    @property
    def over(self) -> bool:
        """Whether the time of the drain is over."""
        return self._ends is not None and anyio.current_time() >= self._ends

    async def watch(
        self, *, on_start: Callable[[], None], idle: Callable[[], bool], done: Callable[[], None]
    ) -> None:
        """Wait for the drain, call `on_start`, give running requests their time, then call `done`."""
        while not self.started:
            await anyio.sleep(LOOK_SECONDS)
        on_start()
        self._ends = anyio.current_time() + self._timeout
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, self._ends)
        while not idle() and anyio.current_time() < self._ends + GRACE_SECONDS:
            await anyio.sleep(LOOK_SECONDS)
        done()


class Deadline:
    """The end of one request: after `seconds`, if set, and with the drain."""

    def __init__(self, seconds: float | None, drain: Drain) -> None:
        self._seconds = seconds
        self._ends = float("inf") if seconds is None else time.monotonic() + seconds
        self._drain = drain

    async def within(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, if it ends in time.

        Raises:
            DetectError: `deadline_exceeded`, or `draining`.
        """
        left = self._ends - time.monotonic()
        with anyio.CancelScope(deadline=anyio.current_time() + left) as scope, self._drain.ending(scope):
            return await work()
        if time.monotonic() < self._ends and self._drain.over:
            raise OverloadError(
                "The server ended before this video was done; send it again.", 1, code="draining"
            )
        raise DetectError(
            "deadline_exceeded",
            f"The request took longer than the {self._seconds:g} s allowed; send a shorter video or a part.",
        )

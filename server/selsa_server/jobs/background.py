"""Loops in the background that wait for changes, and survive what goes wrong in one turn."""

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import anyio
import anyio.to_thread
import structlog

RETRY_SECONDS: Final = 1.0
LONGEST_PAUSE: Final = 60.0

T = TypeVar("T")


class Changes:
    """Wakes those that wait for a change of the jobs.

    Args:
        look: seconds after which to look for changes by other servers.

    Attributes:
        stopping: set when the server ends.
    """

    def __init__(self, look: float = math.inf) -> None:
        self._look = look
        self._event = anyio.Event()
        self.stopping = False

    def notify(self) -> None:
        """Something has changed."""
        self._event.set()
        self._event = anyio.Event()

    def stop(self) -> None:
        """The server ends."""
        self.stopping = True
        self.notify()

    def now(self) -> anyio.Event:
        """Set at the next change; to be taken before looking at what may have changed."""
        return self._event

    async def wait(self, change: anyio.Event, patience: float) -> bool:
        """Wait for a change here, or until the next look at changes by others; True for a change."""
        with anyio.move_on_after(max(0.0, min(patience, self._look))):
            await change.wait()
        return change.is_set()


async def work_through(
    claim: Callable[[], T | None],
    run: Callable[[T], Awaitable[None]],
    changes: Changes,
    *,
    at_once: int,
    patience: Callable[[], float] = lambda: math.inf,
) -> None:
    """Claim work and run it, `at_once` pieces at a time, until the server ends.

    Args:
        claim: called in a thread; None if there is no work.
        run: does the work.
        changes: after one, there may be new work.
        at_once: pieces of work at a time.
        patience: called in a thread if there is no work: seconds until there may be some without a change.
    """
    places, pause = anyio.Semaphore(at_once), RETRY_SECONDS

    async def in_a_place(work: T) -> None:
        try:
            with surviving("work in the background failed"):
                await run(work)
        finally:
            places.release()

    async with anyio.create_task_group() as group:
        while not changes.stopping:
            await places.acquire()
            taken = False
            try:
                with surviving("work in the background could not be taken up") as failed:
                    change = changes.now()
                    work = await in_thread(claim)
                    if work is None:
                        wait = await in_thread(patience)
                    else:
                        group.start_soon(in_a_place, work)
                        taken = True
            finally:
                if not taken:
                    places.release()
            if failed:
                # As long as the disk is full, each try is a line in the log.
                await anyio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = RETRY_SECONDS
            if not taken:
                await changes.wait(change, wait)


@contextmanager
def surviving(what: str) -> Iterator[list[Exception]]:
    """Log an exception and continue: after a full disk, later work must run."""
    failed: list[Exception] = []
    try:
        yield failed
    except Exception as error:  # noqa: BLE001 - see above
        structlog.get_logger().error(what, exc_info=error)
        failed.append(error)


async def in_thread(call: Callable[..., T], *args: object) -> T:
    """Call a function that waits for a disk or a database."""
    return await anyio.to_thread.run_sync(call, *args)

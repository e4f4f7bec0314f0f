"""The queue of engine calls, and which of them are merged.

The queue is first come, first served. A caller has at most one call in it, so callers take turns: a long
video waits as often as a short one, and the queue is never longer than the number of callers.
"""

import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from selsa_bundle.errors import EngineError

CLOSED: Final = "The engines were closed."


@dataclass(slots=True, eq=False, kw_only=True)
class Call:
    """One call of an engine by one caller.

    Attributes:
        key: calls with equal keys may be merged; a call whose key is None never is.
        frames: how many frames it has.
        inputs: what the engine takes.
        caller: who waits for it.
        future: its result, or the engine's error.
        arrived: seconds of the monotonic clock.
        waited: seconds in the queue, once it has left it.
    """

    engine: str
    key: Hashable | None
    frames: int
    inputs: tuple[Any, ...]
    caller: Hashable
    future: "Future[Any]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    waited: float = 0.0


class CallQueue:
    """Pending calls, given out in groups that the engine can run as one.

    A group that is not full waits for callers that got a result less than `max_wait` ago and may call again
    at once; without such callers it does not wait.
    """

    def __init__(self, *, max_frames: int, max_wait: float) -> None:
        self._max_frames = max_frames
        self._max_wait = max_wait
        self._change = threading.Condition()
        self._pending: list[Call] = []
        self._left_at: dict[Hashable, float] = {}
        self._closed = False

    def put(self, call: Call) -> None:
        """Queue a call.

        Raises:
            EngineError: the queue is closed.
        """
        with self._change:
            if self._closed:
                raise EngineError(CLOSED)
            self._pending.append(call)
            self._left_at.pop(call.caller, None)
            self._change.notify_all()

    def withdraw(self, call: Call) -> bool:
        """Take a call back; False if it is with the engine already."""
        with self._change:
            if call not in self._pending:
                return False
            self._pending.remove(call)
            self._change.notify_all()
            return True

    def take(self) -> list[Call]:
        """Wait for a group of calls to run as one; empty when the queue is closed."""
        with self._change:
            while not self._closed:
                group, seconds = self._next_group(time.monotonic())
                if group:
                    self._pending = [call for call in self._pending if call not in group]
                    return group
                self._change.wait(seconds)
            return []

    def answered(self, calls: Sequence[Call]) -> None:
        """Note that these callers are about to get their results."""
        with self._change:
            now = time.monotonic()
            self._left_at |= {call.caller: now for call in calls}

    def close(self) -> None:
        """Give every pending call an error, and no further ones out."""
        with self._change:
            self._closed = True
            pending, self._pending = self._pending, []
            self._change.notify_all()
        for call in pending:
            call.future.set_exception(EngineError(CLOSED))

    def _next_group(self, now: float) -> tuple[list[Call], float | None]:
        """The first group that need not wait. If there is none: an empty group and how long to wait.

        The wait is in seconds; None: until the queue changes.
        """
        seconds: float | None = None
        seen: set[Hashable] = set()
        for head in self._pending:
            if head.key in seen:
                continue
            seen.add(head.key)
            group, full = self._group(head)
            wait = 0.0 if full else self._wait(head, now)
            if wait <= 0:
                return group, None
            seconds = wait if seconds is None else min(seconds, wait)
        return [], seconds

    def _group(self, head: Call) -> tuple[list[Call], bool]:
        """`head` and the calls that can be merged with it, and whether the group is full."""
        group, frames = [head], head.frames
        if head.key is None:
            return group, True
        for call in self._pending:
            if call is head or call.key != head.key:
                continue
            if frames + call.frames > self._max_frames:
                return group, True
            group.append(call)
            frames += call.frames
        return group, frames >= self._max_frames

    def _wait(self, head: Call, now: float) -> float:
        """Seconds that `head` should wait for others."""
        oldest = now - self._max_wait
        self._left_at = {caller: left for caller, left in self._left_at.items() if left > oldest}
        latest = max(self._left_at.values(), default=oldest)
        return min(head.arrived, latest) + self._max_wait - now

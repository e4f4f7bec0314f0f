"""Watching the head of a cluster: without it nothing lasts, and Ray ends this process in a minute."""

import threading
import time
from collections.abc import Callable
from typing import Final

from selsa_server.cluster.connection import answers

LOOK_SECONDS: Final = 1.0
# Longer than a busy head or network may be silent, much shorter than Ray's own patience.
PATIENCE_SECONDS: Final = 10.0
# After the server knows that it ends, and before calls fail: jobs stop in order, to go on elsewhere.
NOTICE_SECONDS: Final = 1.0


class HeadWatch:
    """Looks once a second whether the head answers, in a thread of its own.

    Args:
        head: its host and port.
        gone: called once, in that thread, when it has not answered for too long.
    """

    def __init__(self, head: tuple[str, int], gone: Callable[[], None]) -> None:
        self._head = head
        self._gone = gone
        self._over: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="selsa-head-watch", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether it is gone."""
        return self._over is not None

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def ended(self) -> str | None:
        """Why calls cannot be answered any more, or None."""
        if self._over is None or time.monotonic() < self._over:
            return None
        return f"The cluster's head {self._head[0]}:{self._head[1]} does not answer any more."

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(LOOK_SECONDS):
            if answers(self._head, 2 * LOOK_SECONDS):
                last = time.monotonic()
            elif time.monotonic() - last > PATIENCE_SECONDS:
                self._over = time.monotonic() + NOTICE_SECONDS
                self._gone()
                return

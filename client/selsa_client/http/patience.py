"""How often and after what time something that failed is tried again."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from selsa_client.wire.errors import BusyError, SelsaError


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When to try again: at the time a busy server names, else after 1, 2, 4, ... seconds."""

    retries: int = 0
    longest_wait: float = 60.0

    def delay(self, attempt: int, error: SelsaError, *, jitter: float) -> float | None:
        """Seconds to wait after the 0-based `attempt`; None: give up.

        `jitter` in [0, 1) adds up to a quarter, so that clients turned away together do not come back
        together. It only ever adds: asking earlier than Retry-After says is asking to be refused again.
        """
        if attempt >= self.retries:
            return None
        told = error.retry_after if isinstance(error, BusyError) else None
        wait = float(2 ** min(attempt, 16)) if told is None else told
        if told is not None and told > self.longest_wait:
            return None
        return min(wait, self.longest_wait) * (1 + jitter / 4)


class Patience:
    """The attempts of one call. What makes progress begins to count anew."""

    def __init__(self, policy: RetryPolicy, jitter: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._jitter = jitter
        self._attempt = 0

    def renew(self) -> None:
        """There was progress."""
        self._attempt = 0

    def wait(self, error: SelsaError) -> float:
        """Seconds until the next attempt.

        Raises:
            SelsaError: `error`, when there is none.
        """
        delay = self._policy.delay(self._attempt, error, jitter=self._jitter())
        if delay is None:
            raise error
        self._attempt += 1
        return delay

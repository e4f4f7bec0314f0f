"""How often a failed request is repeated, and after what delay."""

import random
from dataclasses import dataclass

from selsa_client.wire.errors import BusyError, SelsaError


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Retry after the Retry-After of a busy server, otherwise after 1, 2, 4, ... seconds."""

    retries: int = 0
    longest_wait: float = 60.0

    def delay(self, attempt: int, error: SelsaError, *, jitter: float) -> float | None:
        """Seconds to wait after the 0-based `attempt`; None: give up.

        `jitter` in [0, 1) adds up to a quarter, so that refused clients do not all return at once. It only
        adds: a request before the time in Retry-After would be refused again.
        """
        if attempt >= self.retries:
            return None
        retry_after = error.retry_after if isinstance(error, BusyError) else None
        if retry_after is not None and retry_after > self.longest_wait:
            return None
        wait = float(2 ** min(attempt, 16)) if retry_after is None else retry_after
        return min(wait, self.longest_wait) * (1 + jitter / 4)


class Attempts:
    """Counts the attempts of one call. Progress resets the count."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._attempt = 0

    def reset(self) -> None:
        """Progress was made: the next failure counts as the first."""
        self._attempt = 0

    def delay_after(self, error: SelsaError) -> float:
        """Seconds until the next attempt.

        Raises:
            SelsaError: `error`, if no attempt is left.
        """
        delay = self._policy.delay(self._attempt, error, jitter=random.random())  # noqa: S311
        if delay is None:
            raise error
        self._attempt += 1
        return delay

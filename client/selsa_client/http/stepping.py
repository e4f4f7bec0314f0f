"""A program taken step by step; what both drivers have in common."""

from collections.abc import Generator
from typing import Generic, TypeVar

from selsa_client.http.exchange import Give, LinkError, Reply, Step

T = TypeVar("T")
R = TypeVar("R")


class Stepping(Generic[T, R]):
    """Between two steps `reply` or `failure` may be set; neither means that there is nothing to say."""

    def __init__(self, program: Generator[Step | Give[T], Reply, R]) -> None:
        self._program = program
        self._result: R | None = None
        self.reply: Reply = None
        self.failure: LinkError | None = None

    def next(self) -> Step | Give[T] | None:
        """The next step; None at the program's end."""
        reply, failure = self.reply, self.failure
        self.reply = self.failure = None
        try:
            return self._program.send(reply) if failure is None else self._program.throw(failure)
        except StopIteration as end:
            self._result = end.value
            return None

    @property
    def result(self) -> R:
        """What the program returned; to be asked after its end."""
        return self._result  # type: ignore[return-value]

    def close(self) -> None:
        """Leave the program where it is."""
        self._program.close()

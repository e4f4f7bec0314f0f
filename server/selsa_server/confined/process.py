"""One decoder process, as the server sees it: sends orders, reads answers, with a time limit on each wait."""

import pickle
import select
import socket
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from selsa_server.confined.answers import (
    MAX_HEAD,
    Answer,
    FailedAnswer,
    ReadyAnswer,
    RefusedAnswer,
    parse_answer,
)
from selsa_server.confined.channel import Channel
from selsa_server.confined.fork_server import ForkServer
from selsa_server.confined.orders import Begin, Order
from selsa_server.confined.outcome import DecoderEnd, DecoderOutcome, end_of, hung, invalid_answer, no_process
from selsa_server.confined.rules import DecoderRules
from selsa_server.confined.shared_frame import SharedFrame
from selsa_server.run_context import StoppedError
from selsa_server.sandbox.allowance import Allowance

AnswerType = TypeVar("AnswerType")
Ended = Callable[[DecoderOutcome, float], None]

TICK_SECONDS: Final = 0.1
# How long a decoder may take to exit: after the end of its orders, and after it was killed.
QUIET_SECONDS: Final = 1.0
KILL_SECONDS: Final = 2.0


class DecoderProcess:
    """A decoder process. Belongs to one thread at a time, except `kill`.

    Args:
        fork_server: where it comes from.
        allowance: what it may use.
        frame_bytes: of the largest frame that it gives.
        ended: called at its end with the outcome and the seconds of processor time.

    Attributes:
        frame: the memory that it shares with the server.
        missing: the parts of confinement that this system lacks, with reasons; None before its first answer.
    """

    def __init__(
        self,
        fork_server: ForkServer,
        rules: DecoderRules,
        allowance: Allowance,
        *,
        frame_bytes: int = 0,
        ended: Ended = lambda *_: None,
    ) -> None:
        self._fork_server = fork_server
        self._rules = rules
        self._ended = ended
        self._lock = threading.Lock()
        self._end: DecoderEnd | None = None
        self._stopped = self._closed = False
        self._idle_ticks, self._most_ticks, self._beats = 0, 0.0, 0
        self.missing: dict[str, str] | None = None
        self.frame = SharedFrame.create(frame_bytes)
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                # The timeout is for sending; `_wait` waits before each read.
                ours.settimeout(rules.timeout)
                self._channel = Channel(ours)
                try:
                    self._line = fork_server.spawn(theirs.fileno(), self.frame.handle)
                except BaseException:
                    ours.close()
                    raise
        except BaseException:
            self.frame.close()
            raise
        try:
            self.tell(Begin(allowance, rules.required))
        except BaseException:
            self.close()
            raise

    def tell(self, order: Order) -> None:
        """Send an order.

        Raises:
            DecoderError: it has ended.
            StoppedError: it was killed.
        """
        try:
            self._channel.send(b"", pickle.dumps(order, pickle.HIGHEST_PROTOCOL))
        except TimeoutError as error:
            raise self._fail(hung(self._rules)) from error
        except OSError as error:
            raise self._lost() from error

    def hear(
        self, stopped: Callable[[], bool] = lambda: False, *, body: int = 0, patience: float = 0
    ) -> tuple[Answer, bytes]:
        """The next answer and its body.

        Args:
            stopped: polled while waiting; once it is true, the decoder is killed.
            body: bytes that the body may have.
            patience: seconds without progress that are allowed in addition.

        Raises:
            DetectError: the decoder's answer is that error, or it ended.
            StoppedError: it was killed, by `kill` or since it was stopped.
            RuntimeError: it failed unexpectedly.
        """
        self._idle_ticks, self._most_ticks = 0, (self._rules.timeout + patience) / TICK_SECONDS
        if self.missing is None:
            ready, _ = self._answer(stopped, 0)
            if not isinstance(ready, ReadyAnswer):
                raise self.invalid_answer()
            self.missing = ready.missing
        return self._answer(stopped, body)

    def expect(
        self,
        kind: type[AnswerType],
        *,
        stopped: Callable[[], bool] = lambda: False,
        patience: float = 0,
    ) -> AnswerType:
        """The next answer, which is of this kind; see `hear`."""
        answer, _ = self.hear(stopped, patience=patience)
        if not isinstance(answer, kind):
            raise self.invalid_answer()
        return answer

    def invalid_answer(self) -> Exception:
        """End the decoder; returns the error to raise for an answer that is not valid."""
        return self._fail(invalid_answer())

    def kill(self) -> None:
        """End it at once, from any thread; a thread that waits for it gets `StoppedError`."""
        with self._lock:
            self._stopped = True
            if not self._closed:
                self._line.cut()
                self._channel.abort()

    def close(self) -> None:
        """End its orders, wait for its exit (kill it if it takes too long), and free its resources."""
        if self._closed:
            return
        self._channel.end()
        exit_ = None if self._stopped or self._end else self._line.exit(QUIET_SECONDS)
        if exit_ is None:
            self._line.cut()
            exit_ = self._line.exit(KILL_SECONDS)
        with self._lock:
            self._closed = True
            self._channel.close()
            self._line.close()
            self.frame.close()
        self._ended(self._outcome, 0.0 if exit_ is None else exit_.cpu_seconds)

    @property
    def _outcome(self) -> DecoderOutcome:
        if self._end is not None:
            return self._end.outcome
        return "cancelled" if self._stopped else "ok"

    def _answer(self, stopped: Callable[[], bool], body: int) -> tuple[Answer, bytes]:
        try:
            message = self._channel.receive(MAX_HEAD + body, lambda: self._wait(stopped))
            if message is None:
                raise self._lost()
            answer = parse_answer(message[0])
            refusal = answer.error() if isinstance(answer, RefusedAnswer) else None
        except OSError as error:
            raise self._lost() from error
        except ValueError as error:
            raise self.invalid_answer() from error
        if refusal is not None:
            raise refusal
        if isinstance(answer, FailedAnswer):
            raise self._fail(DecoderEnd("failed", RuntimeError(f"a decoder failed:\n{answer.trace}")))
        return answer, message[1]

    def _wait(self, stopped: Callable[[], bool]) -> None:
        """Wait until there is something to read.

        Time is counted in turns of this loop: if the whole server is suspended, no time passes.
        """
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not poll.poll(TICK_SECONDS * 1000):
            if stopped():
                self.kill()
                raise StoppedError
            beats = self.frame.beats
            self._idle_ticks = 0 if beats != self._beats else self._idle_ticks + 1
            self._beats = beats
            if self._idle_ticks > self._most_ticks:
                raise self._hung()

    def _hung(self) -> Exception:
        """End the decoder; returns the error to raise when it made no progress for too long."""
        if self._line.pid(0) is not None:
            return self._fail(hung(self._rules))
        # No decoder was forked, so the fork server hangs. The next `spawn` starts a new one.
        self._fork_server.kill()
        return self._fail(no_process(self._rules))

    def _lost(self) -> Exception:
        """The error to raise when the decoder has closed the connection."""
        if self._stopped:
            return StoppedError()
        if self._line.pid(KILL_SECONDS) == 0:
            return self._fail(no_process(self._rules))
        exit_ = self._line.exit(QUIET_SECONDS)
        if exit_ is None:
            self._line.cut()
            if self._line.exit(KILL_SECONDS) is not None:
                return self.invalid_answer()  # it closed the connection and continued to run
        return self._fail(end_of(None if exit_ is None else exit_.status, self._rules))

    def _fail(self, end: DecoderEnd) -> Exception:
        if self._stopped:
            return StoppedError()
        self._end = end
        self._line.cut()
        return end.error

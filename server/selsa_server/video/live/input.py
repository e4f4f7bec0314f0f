"""A bounded queue of what a client of a live stream has sent, between two threads."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from selsa_server.errors import DetectError


@dataclass(frozen=True, slots=True)
class LiveMessage:
    """Bytes of the client; `time` in seconds if they are an image whose time is known."""

    data: bytes
    time: float | None = None


class LiveSource(Protocol):
    """Where messages come from."""

    def get(self) -> LiveMessage | None:
        """The next message, waiting for it; None after the last.

        Raises:
            DetectError: the client did something wrong after the messages before.
        """
        ...


class LiveInput:
    """Messages in order. Holds at most `max_bytes` and one message; `put` waits for room."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._messages: deque[LiveMessage] = deque()
        self._bytes = 0
        self._over = False
        self._error: DetectError | None = None
        self._change = threading.Condition()

    @property
    def bytes(self) -> int:
        """Bytes that wait."""
        return self._bytes

    @property
    def full(self) -> bool:
        """Whether `put` would wait."""
        return self._bytes >= self._max_bytes and not self._over

    def put(self, message: LiveMessage) -> None:
        """Add a message, waiting for room; after the end it is dropped."""
        with self._change:
            self._change.wait_for(lambda: not self.full)
            if not self._over:
                self._messages.append(message)
                self._bytes += len(message.data)
            self._change.notify_all()

    def get(self) -> LiveMessage | None:
        """The next message, waiting for it; None after the last.

        Raises:
            DetectError: the client did something wrong after the messages before.
        """
        with self._change:
            self._change.wait_for(lambda: self._messages or self._over)
            if self._messages:
                message = self._messages.popleft()
                self._bytes -= len(message.data)
                self._change.notify_all()
                return message
            if self._error is not None:
                raise self._error
            return None

    def end(self, error: DetectError | None = None) -> None:
        """End the input; with the error, if that is the reason."""
        with self._change:
            if not self._over:
                self._over, self._error = True, error
            self._change.notify_all()

    def abort(self) -> None:
        """End reading: drop the messages and wake all threads that wait."""
        with self._change:
            self._messages.clear()
            self._bytes = 0
            self._over = True
            self._change.notify_all()


class StreamCheck(Protocol):
    """Looks at the bytes of a container as they pass."""

    @property
    def cut_off(self) -> bool:
        """Whether they end in the middle of something, or some are missing."""
        ...

    def feed(self, data: bytes) -> None:
        """Look at the next bytes."""
        ...


class LiveFile:
    """A source of messages as a file that can only be read forward; reading waits for the client.

    Attributes:
        failure: what the client did wrong; the file ends there, since FFmpeg passes on no exceptions.
        clock_restarts: how often the clock was continued; only MP4 needs that.
    """

    clock_restarts = 0

    def __init__(self, source: LiveSource, check: StreamCheck | None = None) -> None:
        self._source = source
        self._check = check
        self._rest = memoryview(b"")
        self._ended = False
        self.failure: DetectError | None = None

    @property
    def cut_off(self) -> bool:
        """Whether the source has ended in the middle of something; False without a check."""
        return self._ended and self._check is not None and self._check.cut_off

    def read(self, size: int) -> bytes:
        """At least one byte and at most `size`; empty at the end."""
        while not self._rest:
            try:
                message = self._source.get()
            except DetectError as error:
                self.failure, message = error, None
            if message is None:
                self._ended = True
                return b""
            self._rest = memoryview(message.data)
            if self._check is not None:
                self._check.feed(message.data)
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def read_all(self, size: int) -> bytes:
        """`size` bytes; fewer at the end."""
        parts = bytearray()
        while len(parts) < size and (part := self.read(size - len(parts))):
            parts += part
        return bytes(parts)

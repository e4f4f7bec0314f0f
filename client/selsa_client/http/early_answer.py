"""An answer that comes while the upload still runs: stop sending and hear it.

A server that limits sizes says no after the head of the request and then hangs up, with unread bytes of ours
behind it. A client that goes on writing meets a reset connection, sends gigabytes for nothing or loses the
answer (asyncio drops what it has not read once a write fails). So the upload looks for an answer between
chunks, and gives the server a moment to say no to a large one before the first. A selsa server that takes a
video answers when it has all of it.
"""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

import anyio
import httpcore

# Seconds. A server refuses within milliseconds of the head; nobody notices the moment before a large upload.
_MOMENT: Final = 0.05
_STEP: Final = 0.005
# Bytes. What is smaller is sent sooner than waited for, and fits where the server's end buffers it.
_LARGE: Final = 1 << 20


class AnswerWatch:
    """Watches the connection of one request, which must be a new one."""

    def __init__(self) -> None:
        self._connection: httpcore.NetworkStream | httpcore.AsyncNetworkStream | None = None

    def trace(self, event: str, info: dict[str, object]) -> None:
        """httpcore's `trace` extension: learns which connection the request uses."""
        made = info.get("return_value")
        if event == "connection.connect_tcp.complete":
            if isinstance(made, httpcore.NetworkStream | httpcore.AsyncNetworkStream):
                self._connection = made
        elif ".start_tls." in event:
            # TLS itself sends, session tickets for one: bytes that wait are no sign of an answer.
            self._connection = None

    async def atrace(self, event: str, info: dict[str, object]) -> None:
        """`trace` for an asynchronous client."""
        self.trace(event, info)

    def guard(self, chunks: Iterator[bytes], length: int | None) -> Iterator[bytes]:
        """The chunks, `length` bytes in all if that is known, up to the moment when the server answers."""
        for _ in self._steps(length):
            time.sleep(_STEP)
        for chunk in chunks:
            self._stop_if_answered()
            yield chunk

    async def aguard(self, chunks: AsyncIterator[bytes], length: int | None) -> AsyncIterator[bytes]:
        """`guard` for an asynchronous client."""
        for _ in self._steps(length):
            await anyio.sleep(_STEP)
        async for chunk in chunks:
            self._stop_if_answered()
            yield chunk

    def _steps(self, length: int | None) -> Iterator[None]:
        """One item per step of waiting, until the moment is over or the server has answered."""
        if self._connection is None or (length is not None and length < _LARGE):
            return
        until = time.monotonic() + _MOMENT
        while time.monotonic() < until:
            self._stop_if_answered()
            yield

    def _stop_if_answered(self) -> None:
        """Raise what ends the upload.

        Raises:
            httpcore.WriteError: the server has answered. httpcore takes it as it takes a write that fails:
                it reads the answer.
        """
        if self._connection is not None and self._connection.get_extra_info("is_readable"):
            raise httpcore.WriteError("the server has answered")

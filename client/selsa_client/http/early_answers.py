"""Answers that arrive during an asynchronous upload.

httpcore reads an answer after the upload, or when a write fails. asyncio discards received bytes when a write
fails, so the refusal of a server that hangs up early would be lost.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import anyio
import httpcore

# Bytes of an answer that are read at a time, and kept, while the request is still being sent.
_EARLY_BYTES: Final = 65_536


async def listen_while_writing(event: str, info: Mapping[str, Any]) -> None:
    """A request's `trace` function for httpcore: makes its connection read while it writes.

    If a server answers before the upload is complete, the rest is not sent and the answer is read.
    """
    if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
        stream: httpcore.AsyncNetworkStream = info["return_value"]
        listening = _Listening(stream)
        # httpx gives no way to choose httpcore's network backend, which makes the streams.
        stream.read, stream.write = listening.read, listening.write  # type: ignore[method-assign]


class _Listening:
    """The reading and writing of a connection."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._read, self._write = stream.read, stream.write
        self._early = bytearray()
        self._ended = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes, first those that arrived during the upload."""
        if not self._early:
            return await self._read(max_bytes, timeout)
        part = bytes(self._early[:max_bytes])
        del self._early[:max_bytes]
        return part

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes.

        Raises:
            WriteError: the server has answered or hung up. httpcore then reads the answer.
        """
        failure: Exception | None = None
        if self._stream.get_extra_info("is_readable"):
            await self._listen()
        if not self._over:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen_until_over, tasks.cancel_scope)
                # Not raised here: the group would wrap it.
                try:
                    await self._write(buffer, timeout)
                except (httpcore.WriteError, httpcore.WriteTimeout) as error:
                    failure = error
                tasks.cancel_scope.cancel()
        if self._over:
            raise httpcore.WriteError("the server has answered or hung up")
        if failure is not None:
            raise failure

    async def _listen_until_over(self, writing: anyio.CancelScope) -> None:
        while not self._over:
            await self._listen()
        writing.cancel()

    async def _listen(self) -> None:
        arrived = b""
        with suppress(httpcore.ReadError):
            arrived = await self._read(_EARLY_BYTES)
        self._early += arrived
        self._ended |= not arrived
        # After an informational answer (1xx), which httpx ignores, the upload goes on.
        while self._early.startswith(b"HTTP/1.1 1") and b"\r\n\r\n" in self._early:
            del self._early[: self._early.index(b"\r\n\r\n") + 4]

    @property
    def _over(self) -> bool:
        informational = self._early.startswith(b"HTTP/1.1 1") and len(self._early) < _EARLY_BYTES
        return self._ended or (bool(self._early) and not informational)

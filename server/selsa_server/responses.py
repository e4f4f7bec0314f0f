"""The two ways in which records leave: streamed as they are final, or one document at the end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import structlog
from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from selsa_server.errors import DetectError
from selsa_server.record_run import Records, Result, unless_disconnected
from selsa_server.schema import NDJSON, ErrorRecord, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.spool import temporary_file

__all__ = ["DocumentResponse", "RecordsResponse", "write_document"]

CHUNK_BYTES: Final = 1 << 18


class _OwningResponse(Response):
    """A response that owns what it was made of, and lets go of it when it was sent or its client is gone."""

    def __init__(self, owned: AsyncExitStack, media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._owned = owned

    def body_chunks(self) -> AsyncIterator[bytes]:
        """The body, piece by piece."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        del scope

        async def send_all() -> None:
            head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(head)
            async for chunk in self.body_chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        async with self._owned:
            try:
                await unless_disconnected(receive, send_all)
            except ClientDisconnect:
                structlog.get_logger().info("client went away")


class RecordsResponse(_OwningResponse):
    """NDJSON: `head`, which is there already, then each record when it is final.

    An error becomes the last record, since the status is sent.
    """

    def __init__(self, owned: AsyncExitStack, head: Sequence[Result], rest: Records) -> None:
        super().__init__(owned, NDJSON)
        self._head = head
        self._rest = rest
        self._emitted = sum(isinstance(record, FrameRecord) for record in head)

    async def body_chunks(self) -> AsyncIterator[bytes]:
        """One line per record."""
        yield b"".join(_line(record) for record in self._head)
        try:
            async for record in self._rest:
                self._emitted += isinstance(record, FrameRecord)
                yield _line(record)
        except Exception as error:  # noqa: BLE001 - a stream that began must end with a record
            yield _line(self._last_words(error))

    def _last_words(self, error: Exception) -> ErrorRecord:
        if isinstance(error, DetectError):
            structlog.get_logger().info("failed", code=error.code, detail=error.detail)
            return error.record(self._emitted)
        structlog.get_logger().error("failed", exc_info=error)
        hidden = DetectError("internal_error", "The server failed on this video; its log says why.")
        return hidden.record(self._emitted)


def _line(record: Result | ErrorRecord) -> bytes:
    return record.model_dump_json().encode() + b"\n"


class DocumentResponse(_OwningResponse):
    """The JSON document that `write_document` wrote."""

    def __init__(self, owned: AsyncExitStack, path: Path) -> None:
        super().__init__(owned, "application/json")
        self._path = path
        self.headers["content-length"] = str(path.stat().st_size)

    async def body_chunks(self) -> AsyncIterator[bytes]:
        """The file, a piece at a time."""
        async with await anyio.open_file(self._path, "rb") as file:
            while chunk := await file.read(CHUNK_BYTES):
                yield chunk


async def write_document(owned: AsyncExitStack, folder: Path, records: Records) -> Path:
    """Write all records as one `DetectionDocument` to a file that `owned` deletes.

    On disk, because the status depends on the last record and memory must not depend on the video's length.
    """
    path, file = await owned.enter_async_context(temporary_file(folder))
    pending = bytearray()
    frames = 0
    async for record in records:
        text = record.model_dump_json().encode()
        if isinstance(record, VideoRecord):
            pending += b'{"video":' + text + b',"frames":['
        elif isinstance(record, SummaryRecord):
            pending += b'],"summary":' + text + b"}"
        else:
            pending += b"," * (frames > 0) + text
            frames += 1
        if len(pending) >= CHUNK_BYTES or isinstance(record, SummaryRecord):
            await anyio.to_thread.run_sync(file.write, bytes(pending))
            pending.clear()
    return path

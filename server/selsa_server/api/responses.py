"""The forms of a response: records streamed as they become final, one JSON document, or a drawn video."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import anyio
import anyio.to_thread
import structlog
from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from selsa_server.api.aliases import renaming
from selsa_server.api.disconnect import unless_disconnected
from selsa_server.api.spool import temporary_file
from selsa_server.decoders.protocol import Decoders, Drawing, DrawOrder
from selsa_server.errors import DetectError, RequestError, shortage
from selsa_server.schema.detect import (
    NDJSON,
    DetectParams,
    ErrorRecord,
    FrameRecord,
    SummaryRecord,
    VideoRecord,
)
from selsa_server.schema.problems import error_record
from selsa_server.schema.resolved import Resolver
from selsa_server.service.detection import Records, Result, in_thread
from selsa_server.service.draining import Deadline

JSON: Final = "application/json"
MP4: Final = "video/mp4"
CHUNK_BYTES: Final = 1 << 18


def server_timing(seconds: Mapping[str, float]) -> str:
    """Seconds per part as a `Server-Timing` header, which counts milliseconds."""
    return ", ".join(f"{part};dur={1000 * value:.1f}" for part, value in seconds.items())


class OwningResponse(Response):
    """A response that owns its resources, and frees them when it was sent or the client has gone.

    A client that reads nothing for `send_timeout` seconds counts as gone.
    """

    def __init__(self, owned: AsyncExitStack, media_type: str, send_timeout: float) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._owned = owned
        self._send_timeout = send_timeout
        self.state: dict[str, Any] = {}

    def body_chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, piece by piece."""
        raise NotImplementedError

    def last_record(self, error: Exception, emitted: int) -> ErrorRecord:
        """The error that ends a body that began, after `emitted` frames; it is logged."""
        if isinstance(error, DetectError):
            self.state["code"] = error.code
            structlog.get_logger().info("failed", code=error.code, detail=error.detail)
            return error_record(error, emitted)
        if (short := shortage(error)) is not None:
            return self.last_record(short, emitted)
        self.state["code"] = "internal_error"
        structlog.get_logger().error("failed", exc_info=error)
        hidden = DetectError("internal_error", "The server failed on this video; its log says why.")
        return error_record(hidden, emitted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        self.state = scope.setdefault("state", {})

        async def send_in_time(message: Message) -> None:
            with anyio.fail_after(self._send_timeout):
                await send(message)

        async def send_all() -> None:
            head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send_in_time(head)
            async with aclosing(self.body_chunks()) as chunks:
                async for chunk in chunks:
                    await send_in_time({"type": "http.response.body", "body": chunk, "more_body": True})
            await send_in_time({"type": "http.response.body", "body": b"", "more_body": False})

        async with self._owned:
            try:
                await unless_disconnected(receive, send_all)
            except ClientDisconnect:
                self.state["code"] = "client_gone"
            except TimeoutError:
                self.state["code"] = "client_too_slow"


class RecordsResponse(OwningResponse):
    """NDJSON: the records of `head`, then each record as soon as it is final.

    An error becomes the last record, because the status was sent already.
    """

    def __init__(
        self,
        owned: AsyncExitStack,
        head: Sequence[Result],
        rest: Records,
        *,
        deadline: Deadline,
        send_timeout: float,
    ) -> None:
        super().__init__(owned, NDJSON, send_timeout)
        self._head = head
        self._rest = rest
        self._deadline = deadline
        self._emitted = sum(isinstance(record, FrameRecord) for record in head)

    async def body_chunks(self) -> AsyncGenerator[bytes, None]:
        """One line per record."""
        yield b"".join(_line(record) for record in self._head)
        try:
            while (record := await self._deadline.within(self._next)) is not None:
                self._emitted += isinstance(record, FrameRecord)
                yield _line(record)
        except Exception as error:  # noqa: BLE001 - a stream must end with a record
            yield _line(self.last_record(error, self._emitted))
        self.state["frames"] = self._emitted

    async def _next(self) -> Result | None:
        return await anext(self._rest, None)


def _line(record: Result | ErrorRecord) -> bytes:
    return record.model_dump_json().encode() + b"\n"


class ChunksResponse(OwningResponse):
    """A body of pieces that is ended with the response."""

    def __init__(
        self,
        body: AsyncGenerator[bytes, None],
        media_type: str,
        headers: Mapping[str, str],
        *,
        send_timeout: float,
    ) -> None:
        super().__init__(AsyncExitStack(), media_type, send_timeout)
        self._body = body
        self.headers.update(headers)

    def body_chunks(self) -> AsyncGenerator[bytes, None]:
        """The pieces."""
        return self._body


class FileResponse(OwningResponse):
    """A complete file, from `write_document` or `write_drawn_video`."""

    def __init__(self, owned: AsyncExitStack, path: Path, media_type: str, *, send_timeout: float) -> None:
        super().__init__(owned, media_type, send_timeout)
        self._path = path
        self.headers["content-length"] = str(path.stat().st_size)

    async def body_chunks(self) -> AsyncGenerator[bytes, None]:
        """The file, a piece at a time."""
        async for chunk in file_chunks(self._path):
            yield chunk


async def file_chunks(path: Path) -> AsyncIterator[bytes]:
    """A file, a piece at a time."""
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(CHUNK_BYTES):
            yield chunk


async def write_document(owned: AsyncExitStack, folder: Path, records: Records) -> Path:
    """Write all records as one `DetectionDocument` to a file that `owned` deletes.

    On disk, because the status depends on the last record and memory must not depend on the video's length.
    With tracks, the summary's aliases are applied to all frames.
    """
    path, file = await owned.enter_async_context(temporary_file(folder))
    pending = bytearray()
    frames = 0
    aliases: Mapping[int, int] = {}
    async for record in records:
        text = record.model_dump_json().encode()
        if isinstance(record, VideoRecord):
            pending += b'{"video":' + text + b',"frames":['
        elif isinstance(record, SummaryRecord):
            pending += b'],"summary":' + text + b"}"
            aliases = record.aliases or {}
        else:
            pending += b",\n" * (frames > 0) + text
            frames += 1
        if len(pending) >= CHUNK_BYTES or isinstance(record, SummaryRecord):
            await anyio.to_thread.run_sync(file.write, bytes(pending))
            pending.clear()
    if not aliases:
        return path
    renamed, copy = await owned.enter_async_context(temporary_file(folder))
    await anyio.to_thread.run_sync(_rename, path, copy, renaming(aliases))
    return renamed


def _rename(path: Path, copy: IO[bytes], rename: Callable[[bytes], bytes]) -> None:
    """Copy a document, whose every frame is a line, with other numbers of objects."""
    with path.open("rb") as file:
        copy.writelines(rename(line) for line in file)
    copy.flush()


async def write_drawn_video(
    owned: AsyncExitStack,
    folder: Path,
    records: Records,
    source: Path,
    params: DetectParams,
    *,
    decoders: Decoders,
    threads: anyio.CapacityLimiter,
    max_bytes: int,
) -> Path:
    """Draw all records on the video, into a file that `owned` deletes.

    With tracks, drawing begins with the summary, whose aliases are applied.

    A file, because an MP4 starts with the index of its frames and the status depends on the last record.

    Args:
        owned: deletes the file.
        folder: where the file is made.
        records: all are taken.
        source: the video.
        params: of the request.
        decoders: draw the video.
        threads: draw one frame at a time.
        max_bytes: largest size of the file.

    Raises:
        VideoError: larger than that, or the pictures cannot be encoded.
        DecoderError: the drawing process failed.
        DetectError: as the records do.
    """
    path, _ = await owned.enter_async_context(temporary_file(folder))
    order = DrawOrder(source=source, out=path, index=records.index, params=params, max_bytes=max_bytes)
    drawing = decoders.draw(order, records.run)
    resolver = Resolver()

    def write_next(ready: Iterator[Result]) -> bool:
        record = next(ready, None)
        if record is not None:
            drawing.write(record)
        return record is not None

    async with opened(drawing, threads):
        async for record in records:
            ready = resolver.add(record)
            while await in_thread(partial(write_next, ready), threads):
                pass
    return path


@asynccontextmanager
async def opened(drawing: Drawing, threads: anyio.CapacityLimiter) -> AsyncIterator[None]:
    """The context of a drawn video; entering and leaving it run in a thread too."""
    await in_thread(drawing.__enter__, threads)
    try:
        yield
    except BaseException as error:
        kind, trace = type(error), error.__traceback__
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(drawing.__exit__, kind, error, trace, limiter=threads)
        raise
    await in_thread(partial(drawing.__exit__, None, None, None), threads)


def choose_media_type(accept: str | None, offers: Sequence[str]) -> str:
    """The offer with the highest quality in an `Accept` header; then the more specific one, then the first.

    Raises:
        RequestError: the header accepts none of them.
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    best, best_rating = None, (0.0, -1)
    for offer in offers:
        rating = _rating(offer, ranges)
        if rating[0] > 0 and rating > best_rating:
            best, best_rating = offer, rating
    if best is None:
        raise RequestError(
            "not_acceptable",
            f"Accept is {accept[:200]!r}; this address gives {' or '.join(offers)}.",
            parameter="Accept",
            allowed=", ".join(offers),
        )
    return best


def _media_range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return name, quality


def _rating(offer: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """(quality, how explicitly: 2 by name, 1 by kind, 0 by */*) by the most explicit range."""
    kind = offer.partition("/")[0] + "/*"
    for explicit, name in ((2, offer), (1, kind), (0, "*/*")):
        qualities = [quality for found, quality in ranges if found == name]
        if qualities:
            return max(qualities), explicit
    return 0.0, -1

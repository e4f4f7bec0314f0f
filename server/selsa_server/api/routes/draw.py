"""`POST /draw`: a video and its records in, the video with its detections drawn out. Nothing is detected."""

import json
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from selsa_server.api.disconnect import unless_disconnected
from selsa_server.api.openapi import BINARY
from selsa_server.api.problems import problem_responses
from selsa_server.api.responses import (
    MP4,
    FileResponse,
    OwningResponse,
    choose_media_type,
    file_chunks,
    opened,
    write_drawn_video,
)
from selsa_server.api.spool import RECORDS, VIDEO, spool_records_and_video, temporary_file
from selsa_server.decoders.protocol import DrawOrder
from selsa_server.errors import RequestError
from selsa_server.run_context import Progress
from selsa_server.schema.detect import (
    NDJSON,
    DetectParams,
    FrameRecord,
    SummaryRecord,
    VideoRecord,
    parse_record,
)
from selsa_server.service.detection import DetectionService, Records, Result, in_thread
from selsa_server.service.draining import Deadline, Drain
from selsa_server.service.models import Models
from selsa_server.settings import RequestSettings

MIXED: Final = "multipart/mixed"
BOUNDARY: Final = "selsa"
# Bytes and detections of one record. The time to place labels grows with the square of their number.
MAX_LINE: Final = 1 << 20
MAX_DETECTIONS: Final = 1000
# The caller has chosen the detections already.
EVERY_SCORE: Final = DetectParams(score_threshold=0)
# Seconds between two progress lines.
INTERVAL: Final = 0.2
CODES: Final = (
    "malformed_request",
    "empty_body",
    "not_acceptable",
    "request_timeout",
    "body_too_large",
    "video_too_long",
    "too_many_frames",
    "frame_too_large",
    "unsupported_media_type",
    "not_a_video",
    "no_video_stream",
    "no_frames",
    "undecodable",
    "truncated",
    "decoder_failed",
    "server_busy",
    "draining",
    "deadline_exceeded",
    "decoder_timeout",
    "storage_full",
    "origin_not_allowed",
)
REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {RECORDS: {"type": "string"}, VIDEO: {"type": "string", "format": "binary"}},
                "required": [RECORDS, VIDEO],
                "additionalProperties": False,
            }
        }
    },
}


def draw_router(models: Models, drain: Drain, limits: RequestSettings) -> APIRouter:
    """The route that draws."""
    router = APIRouter(tags=["detection"])

    @router.post(
        "/draw",
        summary="Draw detections that you have on their video",
        openapi_extra={"requestBody": REQUEST_BODY},
        response_class=Response,
        responses={
            200: {
                "description": "The drawn video (H.264, the source's times, its sound). As multipart/mixed: "
                "first a part of JSON lines that say how many frames are drawn, then the video.",
                "content": {MP4: BINARY, MIXED: BINARY},
            },
            **problem_responses(*CODES),
        },
    )
    async def draw(request: Request) -> Response:
        """Send the part `records` (NDJSON as /detect gives it) and then the part `file` (the same video)."""
        media_type = choose_media_type(request.headers.get("accept"), (MP4, MIXED))
        deadline = Deadline(limits.request_deadline, drain)
        async with AsyncExitStack() as stack:
            service = stack.enter_context(models.using(None)).service
            with service.admission.upload():
                spooling = spool_records_and_video(request, limits.spool_dir, limits)
                lines, video = await deadline.within(lambda: stack.enter_async_context(spooling))
                place = stack.enter_context(service.admission.place())

            async def begin() -> Response:
                drawing = service.detecting(video, DetectParams(), place, partial(given_records, lines))
                records = await stack.enter_async_context(drawing)
                if media_type == MIXED:
                    return _DrawnResponse(stack.pop_all(), records, video, service, deadline, limits)
                path = await write_drawn_video(
                    stack,
                    limits.spool_dir,
                    records,
                    video,
                    EVERY_SCORE,
                    decoders=service.pipeline.decoders,
                    threads=service.admission.threads,
                    max_bytes=limits.max_upload_bytes,
                )
                return FileResponse(stack.pop_all(), path, MP4, send_timeout=limits.send_timeout)

            return await unless_disconnected(request.receive, lambda: deadline.within(begin))

    return router


def given_records(path: Path, frames: int, progress: Progress) -> Generator[Result, None, None]:
    """The frame records in a file of NDJSON, checked one by one.

    Args:
        path: the file.
        frames: of the video that they are of.
        progress: counts the frames up to the latest record.

    Raises:
        RequestError: a line is too large or is not a record, its frame does not exist or is out of order, or
            there is no frame record.
    """
    progress.total = frames
    aliases = _aliases(path)
    last = -1
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise _wrong(number, f"is longer than the {MAX_LINE} bytes allowed")
            try:
                record = parse_record(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))[:100]
                raise _wrong(number, f"is not a record: {where or 'line'}: {first['msg'][:200]}") from error
            if isinstance(record, VideoRecord):
                # Its model's warning is drawn. The frames need not wait for the summary: it was read already.
                yield record.model_copy(update={"look_ahead": None})
            if not isinstance(record, FrameRecord):
                continue
            if not last < record.index < frames:
                allowed = f"{last + 1} to {frames - 1}" if last + 1 < frames else "none"
                raise _wrong(number, f"has the index {record.index}; allowed here is {allowed}")
            if len(record.detections) > MAX_DETECTIONS:
                raise _wrong(number, f"has more than the {MAX_DETECTIONS} detections allowed")
            last = record.index
            progress.done = last + 1
            yield record.with_aliases(aliases)
    if last < 0:
        raise RequestError(
            "malformed_request", "The records have no frame; send the NDJSON of /detect.", parameter=RECORDS
        )


def _aliases(path: Path) -> Mapping[int, int]:
    """The aliases of the summary, if the last line is one."""
    last = b""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE + 1):
            last = line
    try:
        record = parse_record(last)
    except ValidationError:
        return {}  # refused, where its number is known
    return (isinstance(record, SummaryRecord) and record.aliases) or {}


def _wrong(number: int, what: str) -> RequestError:
    return RequestError("malformed_request", f"Line {number} of the records {what}.", parameter=RECORDS)


class _DrawnResponse(OwningResponse):
    """Two parts: JSON lines that say how far the drawing is, then the MP4. An error is the last line."""

    def __init__(
        self,
        owned: AsyncExitStack,
        records: Records,
        source: Path,
        service: DetectionService,
        deadline: Deadline,
        limits: RequestSettings,
    ) -> None:
        super().__init__(owned, f"{MIXED}; boundary={BOUNDARY}", limits.send_timeout)
        self._records = records
        self._source = source
        self._service = service
        self._deadline = deadline
        self._limits = limits

    async def body_chunks(self) -> AsyncGenerator[bytes, None]:
        """Progress, then the file."""
        yield f"--{BOUNDARY}\r\nContent-Type: {NDJSON}\r\n\r\n".encode()
        progress = self._records.run.progress
        try:
            path, _ = await self._owned.enter_async_context(temporary_file(self._limits.spool_dir))
            order = DrawOrder(
                source=self._source,
                out=path,
                index=self._records.index,
                params=EVERY_SCORE,
                max_bytes=self._limits.max_upload_bytes,
            )
            drawing = self._service.pipeline.decoders.draw(order, self._records.run)
            threads = self._service.admission.threads
            told = 0.0
            async with opened(drawing, threads):
                while (record := await self._deadline.within(self._next)) is not None:
                    await in_thread(partial(drawing.write, record), threads)
                    if time.monotonic() - told > INTERVAL:
                        told = time.monotonic()
                        yield _progress_line(progress)
        except Exception as error:  # noqa: BLE001 - the status is sent, so the error is the last line
            yield self.last_record(error, progress.done).model_dump_json().encode() + b"\n"
            return
        length = path.stat().st_size
        head = f"\r\n--{BOUNDARY}\r\nContent-Type: {MP4}\r\nContent-Length: {length}\r\n\r\n"
        yield head.encode()
        async for chunk in file_chunks(path):
            yield chunk
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    async def _next(self) -> Result | None:
        return await anext(self._records, None)


def _progress_line(progress: Progress) -> bytes:
    return json.dumps({"type": "progress", "drawn": progress.done, "frames": progress.total}).encode() + b"\n"

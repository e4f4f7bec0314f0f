"""`POST /detect`: a video in, detections out."""

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from selsa_server.api.disconnect import unless_disconnected
from selsa_server.api.openapi import BINARY, NDJSON_BODY, REQUEST_BODY
from selsa_server.api.problems import problem_responses
from selsa_server.api.responses import (
    JSON,
    MP4,
    FileResponse,
    RecordsResponse,
    choose_media_type,
    server_timing,
    write_document,
    write_drawn_video,
)
from selsa_server.api.spool import check_body, spool_body
from selsa_server.jobs.files import JobError
from selsa_server.jobs.remote.addresses import RemoteError
from selsa_server.schema.detect import NDJSON, DetectionDocument, DetectParams
from selsa_server.schema.problems import TITLES
from selsa_server.service.detection import DetectionService, Records, Result
from selsa_server.service.draining import Deadline, Drain
from selsa_server.service.models import ModelError, Models
from selsa_server.settings import RequestSettings

# Error codes that only other routes send.
ELSEWHERE: Final = {
    *("not_found", "method_not_allowed", "not_ready"),
    *JobError.codes,
    *ModelError.codes,
    *RemoteError.codes,
}


def detect_router(models: Models, drain: Drain, limits: RequestSettings) -> APIRouter:
    """The routes of detection."""
    router = APIRouter(tags=["detection"])

    @router.post(
        "/detect",
        summary="Detect objects in every frame of a video",
        openapi_extra={"requestBody": REQUEST_BODY},
        response_class=Response,
        responses={
            200: {
                "description": "The detections, as one document, as a stream of records, or drawn on the "
                "video (H.264, the source's times, its sound).",
                "model": DetectionDocument,
                # JSON first: generated clients take the first one that they know.
                "content": {JSON: {}, NDJSON: NDJSON_BODY, MP4: BINARY},
            },
            **problem_responses(*(set(TITLES) - ELSEWHERE)),
        },
    )
    async def detect(request: Request, params: Annotated[DetectParams, Query()]) -> Response:
        """Send the video's bytes; get its detections as JSON, as NDJSON records when final, or drawn."""
        media_type = choose_media_type(request.headers.get("accept"), (JSON, NDJSON, MP4))
        check_body(request, limits)
        deadline = Deadline(limits.request_deadline, drain)
        async with AsyncExitStack() as stack:
            service = stack.enter_context(models.using(params.model)).service
            service.pipeline.check(params)
            with service.admission.upload():
                spooling = spool_body(request, limits.spool_dir, limits)
                path = await deadline.within(lambda: stack.enter_async_context(spooling))
                place = stack.enter_context(service.admission.place())
            answer = _Answer(stack, service, deadline, limits)

            async def begin() -> Response:
                records = await stack.enter_async_context(service.detecting(path, params, place))
                request.state.run = records.run
                if media_type == NDJSON:
                    return await answer.stream(records)
                if media_type == MP4:
                    return await answer.video(records, limits.spool_dir, request, path, params)
                return await answer.document(records, limits.spool_dir, request)

            return await unless_disconnected(request.receive, lambda: deadline.within(begin))

    return router


class _Answer:
    """Makes the response from the records; the response then owns the request's resources."""

    def __init__(
        self, stack: AsyncExitStack, service: DetectionService, deadline: Deadline, limits: RequestSettings
    ) -> None:
        self._stack = stack
        self._service = service
        self._deadline = deadline
        self._limits = limits
        self._started = time.perf_counter()

    async def stream(self, records: Records) -> Response:
        """NDJSON, after the first two records: the status can be 200 from then on."""
        head: list[Result] = []
        async for record in records:
            head.append(record)
            if len(head) == 2:
                break
        self._service.metrics.first_record(time.perf_counter() - self._started)
        response = RecordsResponse(
            self._stack.pop_all(),
            head,
            records,
            deadline=self._deadline,
            send_timeout=self._limits.send_timeout,
        )
        response.headers["Server-Timing"] = server_timing(records.timings)
        return response

    async def document(self, records: Records, folder: Path, request: Request) -> Response:
        """One JSON document, written to a file first."""
        path = await write_document(self._stack, folder, records)
        return self._file(path, JSON, records, request)

    async def video(
        self, records: Records, folder: Path, request: Request, source: Path, params: DetectParams
    ) -> Response:
        """The video with its detections drawn on it, written to a file first."""
        path = await write_drawn_video(
            self._stack,
            folder,
            records,
            source,
            params,
            decoders=self._service.pipeline.decoders,
            threads=self._service.admission.threads,
            max_bytes=self._limits.max_upload_bytes,
        )
        return self._file(path, MP4, records, request)

    def _file(self, path: Path, media_type: str, records: Records, request: Request) -> Response:
        if records.summary is not None:
            request.state.frames = records.summary.emitted
        response = FileResponse(
            self._stack.pop_all(), path, media_type, send_timeout=self._limits.send_timeout
        )
        response.headers["Server-Timing"] = server_timing(records.timings)
        return response

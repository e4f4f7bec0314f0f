"""`POST /detect`: a video in, detections out."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from selsa_server.admission import Admission
from selsa_server.errors import TITLES
from selsa_server.negotiation import choose_media_type
from selsa_server.pipeline import DetectionPipeline
from selsa_server.problems import problem_responses
from selsa_server.record_run import Records, Result, detecting, unless_disconnected
from selsa_server.responses import DocumentResponse, RecordsResponse, write_document
from selsa_server.schema import NDJSON, DetectionDocument, DetectParams, ErrorRecord
from selsa_server.spool import SpoolLimits, check_body, spool_body

__all__ = ["detect_router"]

JSON: Final = "application/json"
BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "The video: the body itself, or the one part `file` of a form.",
    "content": {
        "application/octet-stream": BINARY,
        "video/*": BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
                "additionalProperties": False,
            }
        },
    },
}
NDJSON_SCHEMA: Final[dict[str, Any]] = {
    "description": "One record per line: a video, frames, then exactly one summary or error.",
    "oneOf": [
        {"$ref": "#/components/schemas/VideoRecord"},
        {"$ref": "#/components/schemas/FrameRecord"},
        {"$ref": "#/components/schemas/SummaryRecord"},
        ErrorRecord.model_json_schema(),
    ],
}


def detect_router(
    pipeline: DetectionPipeline, admission: Admission, spool_dir: Path, limits: SpoolLimits
) -> APIRouter:
    """The routes of detection."""
    router = APIRouter(tags=["detection"])

    @router.post(
        "/detect",
        summary="Detect objects in every frame of a video",
        openapi_extra={"requestBody": REQUEST_BODY},
        response_class=Response,
        responses={
            200: {
                "description": "The detections, as one document or as a stream of records.",
                "model": DetectionDocument,
                "content": {NDJSON: {"schema": NDJSON_SCHEMA}},
            },
            **problem_responses(*(set(TITLES) - {"not_found", "method_not_allowed", "not_ready"})),
        },
    )
    async def detect(request: Request, params: Annotated[DetectParams, Query()]) -> Response:
        """Send the video's bytes; get its detections as JSON, or as NDJSON records as they become final."""
        media_type = choose_media_type(request.headers.get("accept"), (JSON, NDJSON))
        check_body(request, limits)
        pipeline.check(params)
        async with AsyncExitStack() as stack:
            stack.enter_context(admission.place())
            path = await stack.enter_async_context(spool_body(request, spool_dir, limits))

            async def begin() -> Response:
                records = await stack.enter_async_context(detecting(pipeline, path, params, admission))
                if media_type == NDJSON:
                    head = await _head(records)
                    return RecordsResponse(stack.pop_all(), head, records)
                document = await write_document(stack, spool_dir, records)
                return DocumentResponse(stack.pop_all(), document)

            return await unless_disconnected(request.receive, begin)

    return router


async def _head(records: Records) -> list[Result]:
    """The video record and what follows it: with these there, the status is 200."""
    head: list[Result] = []
    async for record in records:
        head.append(record)
        if len(head) == 2:
            break
    return head

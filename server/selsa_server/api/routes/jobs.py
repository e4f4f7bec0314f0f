"""`/v1/jobs`: long videos, whose results are stored for the client."""

import time
from typing import Annotated, Any, Final

import anyio.to_thread
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BeforeValidator
from starlette.responses import StreamingResponse

from selsa_server.api.aliases import aliases_of, renaming
from selsa_server.api.job_answers import follow_results, state_events, written_results
from selsa_server.api.openapi import JOB_BODY, NDJSON_BODY
from selsa_server.api.problems import problem_responses
from selsa_server.api.responses import ChunksResponse, choose_media_type
from selsa_server.api.spool import check_body, is_json, read_json, spool_body
from selsa_server.errors import RequestError
from selsa_server.jobs.files import ID_PATTERN, JobError
from selsa_server.jobs.service import JobsService
from selsa_server.schema.detect import NDJSON, plain_number
from selsa_server.schema.jobs import Job, JobList, JobParams, VideoAddress
from selsa_server.service.models import Models
from selsa_server.settings import RequestSettings, UploadSettings

EVENT_STREAM: Final = "text/event-stream"
COMPLETE: Final = "Selsa-Complete"
LOCATION: Final = {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}
UPLOAD_CODES: Final = (
    "malformed_request",
    "empty_body",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_parameter",
    "url_not_allowed",
    "idempotency_key_reused",
    "server_busy",
    "jobs_full",
    "storage_full",
    "jobs_unavailable",
    "origin_not_allowed",
)
LIST_CODES: Final = ("invalid_parameter", "jobs_unavailable")
READ_CODES: Final = ("job_not_found", *LIST_CODES)

Plain: Final = BeforeValidator(plain_number)
JobId = Annotated[str, Path(pattern=ID_PATTERN, description="the job's id")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="your name for this request: a repeated request with it gets the existing job. "
        "Without it, the same video with the same parameters does.",
    ),
]


def jobs_router(models: Models, service: JobsService, limits: RequestSettings) -> APIRouter:
    """The routes of jobs."""
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    _add_submit(router, models, service, limits)
    _add_state(router, service)
    _add_streams(router, service, limits)
    return router


def _add_submit(router: APIRouter, models: Models, service: JobsService, limits: UploadSettings) -> None:
    @router.post(
        "",
        summary="Detect objects in a video in the background",
        status_code=202,
        openapi_extra={"requestBody": JOB_BODY},
        responses={
            200: {"description": "The job exists already.", "model": Job, "headers": LOCATION},
            202: {"description": "The job waits for its turn.", "headers": LOCATION},
            **problem_responses(*UPLOAD_CODES),
        },
    )
    async def create_job(
        request: Request,
        response: Response,
        params: Annotated[JobParams, Query()],
        idempotency_key: IdempotencyKey = None,
    ) -> Job:
        """Send a video as to `/detect`, or its address; its results are stored until the job expires."""
        jobs = await service.jobs()
        if jobs.stopping:
            raise JobError("jobs_unavailable", "The server is ending; send the video again in a minute.")
        by_address = is_json(request)
        if not by_address:
            check_body(request, limits)
        jobs.intake.check(params)
        with models.using(params.model) as model:
            model.service.pipeline.check(params)
            if by_address:
                url = (await read_json(request, VideoAddress, limits)).url
                await jobs.intake.used()
                row, new = await jobs.intake.submit(jobs.intake.address(url), params, model, idempotency_key)
            else:
                declared = request.headers.get("content-length", "")
                size = int(declared) if declared.isdecimal() else 0
                with jobs.intake.room(size, await jobs.intake.used()) as arrived:
                    async with spool_body(request, jobs.files.uploads, limits, arrived) as upload:
                        row, new = await jobs.intake.submit(upload, params, model, idempotency_key)
        response.status_code = 202 if new else 200
        response.headers["Location"] = f"{request.scope.get('root_path', '')}/v1/jobs/{row.id}"
        return row.view(jobs.settings.jobs_ttl, time.time())


def _add_state(router: APIRouter, service: JobsService) -> None:
    @router.get("", summary="The jobs, the newest first", responses=problem_responses(*LIST_CODES))
    async def list_jobs(
        limit: Annotated[int, Plain, Query(ge=1, le=1000, description="jobs at most")] = 100,
        before: Annotated[
            int | None,
            Plain,
            Query(ge=1, lt=1 << 62, description="`next` of the page before; default: the newest"),
        ] = None,
    ) -> JobList:
        """All jobs of this server, page by page; `next` is null on the last page."""
        jobs = await service.jobs()
        rows = await jobs.newest(limit + 1, before)
        now = time.time()
        return JobList(
            jobs=tuple(row.view(jobs.settings.jobs_ttl, now) for row in rows[:limit]),
            next=rows[limit - 1].number if len(rows) > limit else None,
        )

    @router.get("/{job_id}", summary="The state of a job", responses=problem_responses(*READ_CODES))
    async def get_job(job_id: JobId) -> Job:
        """State, progress in frames, and estimated end."""
        jobs = await service.jobs()
        return (await jobs.get(job_id)).view(jobs.settings.jobs_ttl, time.time())

    @router.delete(
        "/{job_id}",
        status_code=204,
        summary="Cancel or delete a job",
        responses=problem_responses(*READ_CODES, "origin_not_allowed"),
    )
    async def delete_job(job_id: JobId) -> None:
        """Cancels a job that has not ended, within one batch; deletes an ended job."""
        await (await service.jobs()).delete(job_id)


def _add_streams(router: APIRouter, service: JobsService, limits: RequestSettings) -> None:
    complete: dict[str, Any] = {
        COMPLETE: {
            "description": "true when the job has ended, so that the last record is a summary or an error.",
            "schema": {"type": "string", "enum": ["true", "false"]},
        }
    }

    @router.get(
        "/{job_id}/results",
        summary="The records of a job",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Records that are final.",
                "content": {NDJSON: NDJSON_BODY},
                "headers": complete,
            },
            **problem_responses(*READ_CODES, "job_cancelled", "not_acceptable"),
        },
    )
    async def get_job_results(
        request: Request,
        job_id: JobId,
        after: Annotated[int, Plain, Query(ge=0, description="records that you have already")] = 0,
        follow: Annotated[bool, Query(description="stay until the job has ended")] = False,  # noqa: FBT002
        format_: Annotated[
            str,
            Query(
                alias="format",
                max_length=100,
                description="ndjson, the only one",
                json_schema_extra={"enum": ["ndjson"]},  # in the document only: others are a 406
            ),
        ] = "ndjson",
    ) -> Response:
        """The records as `/detect` sends them; ask again with `after` = the number of records you have.

        With tracks, the summary's aliases are applied to the records of a job that is done.
        """
        choose_media_type(request.headers.get("accept"), (NDJSON,))
        if format_ != "ndjson":
            raise RequestError(
                "not_acceptable",
                f"format is {format_!r}; results are given as ndjson, which selsa_client.formats converts.",
                parameter="format",
                allowed="ndjson",
            )
        jobs = await service.jobs()
        row = await jobs.get(job_id)
        if row.state == "cancelled":
            raise JobError("job_cancelled", "The job was cancelled; its results are deleted.")
        reader = jobs.files.read(job_id, after)
        if not await anyio.to_thread.run_sync(reader.open) and row.has_ended:
            await jobs.get(job_id)  # deleted between the two lines above, it is not found
        if row.state == "done":
            aliases = await anyio.to_thread.run_sync(aliases_of, jobs.files.read(job_id, 0))
            body = written_results(reader, renaming(aliases))
        else:
            body = follow_results(jobs, job_id, reader) if follow else written_results(reader)
        headers = {COMPLETE: "true" if row.has_ended else "false"}
        return ChunksResponse(body, NDJSON, headers, send_timeout=limits.send_timeout)

    @router.get(
        "/{job_id}/events",
        summary="The changes of a job",
        response_class=StreamingResponse,
        responses={
            200: {
                # Without a schema: some tools apply it to each event, others to the whole body.
                "description": "Server-sent events `progress` and `end`; the data of each is a `Job`.",
                "content": {EVENT_STREAM: {}},
            },
            204: {"description": "You have seen the end; do not come back."},
            **problem_responses(*READ_CODES),
        },
    )
    async def get_job_events(
        job_id: JobId,
        last_event_id: Annotated[
            int, Header(alias="Last-Event-ID", ge=0, description="of the last event you have seen")
        ] = 0,
    ) -> Response:
        """`progress` with every change, `end` with the last one; the data is the job as JSON."""
        jobs = await service.jobs()
        row = await jobs.get(job_id)
        if row.has_ended and row.version <= last_event_id:
            return Response(status_code=204)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        body = state_events(jobs, job_id, last_event_id)
        return ChunksResponse(body, EVENT_STREAM, headers, send_timeout=limits.send_timeout)

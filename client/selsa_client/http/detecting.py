"""`POST /detect`, and how it continues after the connection breaks.

The server drops a request when its client disconnects, so a broken request starts again, this time as a job:
once the upload is complete, the records can be read on from the last one that arrived, over any number of
connections. The job has its own key, is deleted when it has been read, and is cancelled if the caller leaves
early. If the server takes no jobs, the request is sent again, provided that no record had arrived.
"""

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Final

from selsa_client.http.job_requests import broken_link, follow_job, job_path, records_of, submit_job
from selsa_client.http.link import Call, LinkError, Request
from selsa_client.http.protocol import RECORDS, VIDEO, detect_query
from selsa_client.http.upload import UploadSource
from selsa_client.wire.errors import BusyError, ResponseError, SelsaError, ServerUnreachableError
from selsa_client.wire.records import RecordReader, StreamRecord
from selsa_server.schema.detect import DetectParams

_NO_JOBS: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.INSUFFICIENT_STORAGE)
# Codes of answers about the connection: a stalled upload, a proxy that lost the server or timed out.
_BROKEN: Final = ("request_timeout", "http_502", "http_504")


async def detection(
    call: Call, source: UploadSource, params: DetectParams, reader: RecordReader
) -> AsyncGenerator[StreamRecord, None]:
    """The records of a video, over as many requests as necessary.

    Raises:
        SelsaError: see `Client.detect`.
    """
    as_job = True
    while True:
        try:
            async with aclosing(_at_once(call, source, params, reader)) as records:
                async for record in records:
                    yield record
            return
        except (LinkError, ResponseError) as error:
            failure = _failure_to_retry(error, source, reader)
        await call.pause(failure)
        if as_job:
            try:
                async with aclosing(_as_job(call, source, params, reader)) as records:
                    async for record in records:
                        yield record
                return
            except (ResponseError, ServerUnreachableError) as refused:
                if reader.received:
                    raise failure from refused
                if not _means_no_jobs(refused):
                    raise
                as_job = False
        elif reader.received:
            raise failure


def _failure_to_retry(
    error: LinkError | ResponseError, source: UploadSource, reader: RecordReader
) -> SelsaError:
    """The failure, if another attempt may succeed.

    Raises:
        SelsaError: it may not.
    """
    if isinstance(error, LinkError):
        failure, broke = broken_link(error, reader), error.connected
    else:
        failure, broke = error, error.code in _BROKEN
    if broke and source.repeatable:
        return failure
    raise failure


async def _at_once(
    call: Call, source: UploadSource, params: DetectParams, reader: RecordReader
) -> AsyncGenerator[StreamRecord, None]:
    request = Request(
        method="POST", path="/detect", query=detect_query(params), headers=RECORDS | VIDEO, body=source
    )
    reader.cut()
    while True:
        try:
            async with aclosing(records_of(call, request, reader)) as records:
                async for record in records:
                    yield record
            return
        except BusyError as busy:
            if not source.repeatable:
                raise
            failure = busy
        await call.pause(failure)


async def _as_job(
    call: Call, source: UploadSource, params: DetectParams, reader: RecordReader
) -> AsyncGenerator[StreamRecord, None]:
    job = await submit_job(call, source, params, uuid.uuid4().hex, was_reachable=True)
    try:
        if reader.video is not None and reader.video.model.bundle != job.bundle:
            raise reader.incomplete("the connection broke, and the server now uses another bundle")
        reader.cut()
        async with aclosing(follow_job(call, job.id, reader)) as records:
            async for record in records:
                yield record
    finally:
        # If this fails, the server deletes the job after `jobs_ttl`.
        await call.send_while_leaving(Request(method="DELETE", path=job_path(job.id)))


def _means_no_jobs(error: SelsaError) -> bool:
    return isinstance(error, ResponseError) and (error.status in _NO_JOBS or error.code == "jobs_unavailable")

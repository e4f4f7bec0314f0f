"""`/v1/jobs`: submitting, and reading records and events over connections that may break."""

import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from selsa_client.http.asking import ask, parsed, refusal
from selsa_client.http.link import Call, LinkError, Request
from selsa_client.http.protocol import RECORDS, VIDEO, detect_query, is_record_stream
from selsa_client.http.upload import UploadSource
from selsa_client.wire.errors import (
    BusyError,
    DetectionFailedError,
    IncompleteError,
    SelsaError,
    ServerUnreachableError,
)
from selsa_client.wire.records import LineSplitter, RecordReader, StreamRecord
from selsa_server.schema.detect import DetectParams
from selsa_server.schema.jobs import Job, VideoAddress

_SUBMITTED: Final = (HTTPStatus.OK, HTTPStatus.ACCEPTED)
# Code of the error record of a server that shuts down. The job continues when the server is back.
_DRAINING: Final = "draining"
_EVENT_LIMIT: Final = 1 << 20
_ADDRESS: Final = {"Content-Type": "application/json"}


async def submit_job(
    call: Call,
    source: UploadSource | VideoAddress,
    params: DetectParams,
    key: str | None = None,
    *,
    was_reachable: bool = False,
) -> Job:
    """Submit a video or its address. After a break it is submitted again, which gives the same job."""
    body: UploadSource | bytes
    if isinstance(source, VideoAddress):
        body, headers = source.model_dump_json().encode(), _ADDRESS
        # Without a key, the same address again is another job.
        key = key or uuid.uuid4().hex
    else:
        body, headers = source, VIDEO
    if key is not None:
        headers = {**headers, "Idempotency-Key": key}
    request = Request(method="POST", path="/v1/jobs", query=detect_query(params), headers=headers, body=body)
    answer = await ask(call, request, allowed=_SUBMITTED, was_reachable=was_reachable)
    return parsed(Job, answer.body)


async def records_of(
    call: Call, request: Request, reader: RecordReader
) -> AsyncGenerator[StreamRecord, None]:
    """The records of one answer.

    Raises:
        ResponseError: the answer has no records.
        IncompleteError: the last record is missing, and the server did not mark the answer as partial.
        LinkError: the connection broke.
    """
    async with call.send(request) as answer:
        if not is_record_stream(answer.status, answer.headers):
            raise await refusal(answer)
        while chunk := await answer.read():
            for record in reader.feed(chunk):
                call.attempts.reset()
                yield record
        if answer.headers.get("selsa-complete") != "false":
            for record in reader.finish():
                yield record


async def read_job(call: Call, job_id: str, reader: RecordReader) -> AsyncGenerator[StreamRecord, None]:
    """The records of a job that are final now, after those that the reader has."""
    try:
        async with aclosing(records_of(call, _results(job_id, reader, follow=False), reader)) as records:
            async for record in records:
                yield record
    except LinkError as error:
        raise broken_link(error, reader) from error


async def follow_job(call: Call, job_id: str, reader: RecordReader) -> AsyncGenerator[StreamRecord, None]:
    """The records of a job until its end, after those that the reader has; reconnects after a break."""
    while True:
        failure: SelsaError
        try:
            async with aclosing(records_of(call, _results(job_id, reader, follow=True), reader)) as records:
                async for record in records:
                    yield record
            return
        except (BusyError, IncompleteError) as error:
            failure = error
        except DetectionFailedError as error:
            if error.code != _DRAINING:
                raise
            failure = error
        except LinkError as error:
            failure = broken_link(error, reader)
        reader.cut()
        await call.pause(failure)


def broken_link(error: LinkError, reader: RecordReader) -> SelsaError:
    """A broken connection as an error for the caller: no records, or not all of them."""
    return reader.incomplete(str(error)) if reader.received else ServerUnreachableError(str(error))


def job_path(job_id: str) -> str:
    """The path of a job; its id cannot lead to another path."""
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _results(job_id: str, reader: RecordReader, *, follow: bool) -> Request:
    query = (("after", str(reader.received)), ("follow", "true" if follow else "false"))
    return Request(method="GET", path=f"{job_path(job_id)}/results", query=query, headers=RECORDS)


class EventReader:
    """Splits bytes into server-sent events; holds at most one unfinished event.

    Attributes:
        last_id: id of the last whole event, which the client sends back after a break.
    """

    def __init__(self) -> None:
        self._lines = LineSplitter(_EVENT_LIMIT, keep_empty=True)
        self._fields: dict[str, str] = {}
        self.last_id = "0"

    def feed(self, chunk: bytes) -> Iterator[tuple[str, str]]:
        """Kind and data of each event that `chunk` completes.

        Raises:
            WireFormatError: a line is too long.
        """
        for line in self._lines.feed(chunk):
            text = line.decode("utf-8", errors="replace").removesuffix("\r")
            if text:
                # A comment (a line with an empty field name) keeps the connection alive.
                name, _, value = text.partition(":")
                self._fields[name] = value.removeprefix(" ")
                continue
            fields, self._fields = self._fields, {}
            if "data" in fields:
                self.last_id = fields.get("id", self.last_id)
                yield fields.get("event", "message"), fields["data"]

    def cut(self) -> None:
        """The connection broke: drop the unfinished event, which the server sends again."""
        self._lines.forget()
        self._fields = {}


async def job_events(call: Call, job_id: str) -> AsyncGenerator[Job, None]:
    """The job after each change, until its end; reconnects after a break.

    Raises:
        RejectedError: there is no such job.
        SelsaError: as `ask`.
    """
    reader = EventReader()
    while True:
        failure: SelsaError = ServerUnreachableError("The events end although the job has not")
        headers = {"Accept": "text/event-stream", "Last-Event-ID": reader.last_id}
        request = Request(method="GET", path=f"{job_path(job_id)}/events", headers=headers)
        try:
            async with call.send(request) as answer:
                if answer.status == HTTPStatus.NO_CONTENT:
                    return
                if answer.status != HTTPStatus.OK:
                    raise await refusal(answer)
                while chunk := await answer.read():
                    for kind, data in reader.feed(chunk):
                        call.attempts.reset()
                        yield parsed(Job, data.encode())
                        if kind == "end":
                            return
        except BusyError as error:
            failure = error
        except LinkError as error:
            failure = ServerUnreachableError(str(error))
        reader.cut()
        await call.pause(failure)

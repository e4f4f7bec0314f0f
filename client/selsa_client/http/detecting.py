"""`POST /detect`, and what becomes of it when the connection breaks.

The server forgets a request whose client is gone, so what broke begins anew, and then as a job: once its
upload is through, no further break costs anything, since the records are read on from the last one that
arrived. A job is told from others by a key of its own, is deleted when it has been read, and cancelled when
the caller leaves early. Where the server takes no jobs, the request is sent again if no record had come.
"""

import uuid
from collections.abc import Generator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from selsa_client.http.asking import refusal
from selsa_client.http.exchange import (
    AtExit,
    Give,
    HangUp,
    LinkError,
    Pause,
    Program,
    Reply,
    Request,
    Step,
    send,
)
from selsa_client.http.job_requests import broken_link, delete_request, follow_job, records_of, submit_job
from selsa_client.http.patience import Patience
from selsa_client.http.protocol import RECORDS, VIDEO, detect_query, is_record_stream
from selsa_client.http.upload import UploadSource
from selsa_client.wire.errors import BusyError, ResponseError, SelsaError, ServerUnreachableError
from selsa_client.wire.records import RecordReader, StreamRecord
from selsa_server.schema.detect import DetectParams

_NO_JOBS: Final = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.INSUFFICIENT_STORAGE}
)
# Answers that speak of the connection: an upload that stood still, a proxy that lost or gave up the server.
_BROKEN: Final = frozenset({"request_timeout", "http_502", "http_504"})


@dataclass(frozen=True, kw_only=True)
class DetectionCall:
    """What one stream asks for."""

    source: UploadSource
    params: DetectParams
    patience: Patience


def detection(call: DetectionCall, reader: RecordReader) -> Program[StreamRecord]:
    """The records of a video, over as many requests as it takes.

    Raises:
        SelsaError: see `Client.detect`.
    """
    as_job = True
    while True:
        failure = yield from _broken(_at_once(call, reader), reader)
        if failure is None:
            return
        if not call.source.repeatable:
            raise failure
        yield Pause(call.patience.wait(failure))
        if as_job:
            try:
                yield from _as_job(call, reader)
                return
            except (ResponseError, ServerUnreachableError) as refused:
                if reader.received:
                    raise failure from refused
                if not _means_no_jobs(refused):
                    raise
                as_job = False
        elif reader.received:
            raise failure


def _broken(
    records: Program[StreamRecord], reader: RecordReader
) -> Generator[Step | Give[StreamRecord], Reply, SelsaError | None]:
    """Run it; what broke it, if that is something that a second try can mend.

    Raises:
        SelsaError: for everything else, and for a server that is not there at all.
    """
    try:
        yield from records
    except LinkError as broken:
        failure = broken_link(broken, reader)
        if not broken.connected:
            raise failure from broken
        return failure
    except ResponseError as refused:
        if refused.code not in _BROKEN:
            raise
        return refused
    return None


def _at_once(call: DetectionCall, reader: RecordReader) -> Program[StreamRecord]:
    request = Request(
        method="POST",
        path="/detect",
        query=detect_query(call.params),
        headers={**RECORDS, **VIDEO},
        body=call.source,
    )
    reader.cut()
    while True:
        answer = yield from send(request)
        if is_record_stream(answer.status, answer.headers):
            break
        error = yield from refusal(answer)
        if not (isinstance(error, BusyError) and call.source.repeatable):
            raise error
        yield Pause(call.patience.wait(error))
    yield from records_of(reader, call.patience.renew)


def _as_job(call: DetectionCall, reader: RecordReader) -> Program[StreamRecord]:
    key = uuid.uuid4().hex
    job = yield from submit_job(call.source, call.params, call.patience, key, was_there=True)
    delete = delete_request(job.id)
    yield AtExit(delete)
    if reader.video is not None and reader.video.model.bundle != job.bundle:
        raise reader.incomplete("the connection broke, and the server has another bundle by now")
    reader.cut()
    yield from follow_job(job.id, reader, call.patience)
    yield AtExit(None)
    try:
        yield from send(delete)
        yield HangUp()
    except LinkError:
        pass  # it goes by itself after the server's `jobs_ttl`


def _means_no_jobs(error: SelsaError) -> bool:
    return isinstance(error, ResponseError) and (error.status in _NO_JOBS or error.code == "jobs_unavailable")

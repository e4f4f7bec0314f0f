"""What is said about jobs: `/v1/jobs` as requests, and a job's records read over connections that break."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from selsa_client.http.asking import ask, parsed, refusal
from selsa_client.http.exchange import (
    Answer,
    Asking,
    Give,
    LinkError,
    Pause,
    Program,
    Request,
    receive,
    send,
)
from selsa_client.http.patience import Patience
from selsa_client.http.protocol import RECORDS, VIDEO, detect_query, is_record_stream
from selsa_client.http.upload import UploadSource
from selsa_client.wire.errors import (
    BusyError,
    DetectionFailedError,
    IncompleteError,
    SelsaError,
    ServerUnreachableError,
)
from selsa_client.wire.records import RecordReader, StreamRecord
from selsa_server.schema.detect import DetectParams
from selsa_server.schema.jobs import Job

_SUBMITTED: Final = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED})
_DELETED: Final = frozenset({HTTPStatus.NO_CONTENT})
# The server ends; it says so in an error record, and the job goes on when it is back.
_DRAINING: Final = "draining"


def submit_job(
    source: UploadSource,
    params: DetectParams,
    patience: Patience,
    key: str | None = None,
    *,
    was_there: bool = False,
) -> Asking[Job]:
    """Submit a video; a second time after a break, which is the same job."""
    headers = {**VIDEO} if key is None else {**VIDEO, "Idempotency-Key": key}
    request = Request(
        method="POST", path="/v1/jobs", query=detect_query(params), headers=headers, body=source
    )
    answer = yield from ask(request, patience, allowed=_SUBMITTED, was_there=was_there)
    return parsed(Job, answer.body)


def get_job(job_id: str, patience: Patience) -> Asking[Job]:
    """How a job is."""
    answer = yield from ask(Request(method="GET", path=_path(job_id)), patience)
    return parsed(Job, answer.body)


def cancel_job(job_id: str, patience: Patience) -> Asking[None]:
    """Cancel a job that has not ended, forget one that has."""
    yield from ask(delete_request(job_id), patience, allowed=_DELETED, idempotent=False)


def delete_request(job_id: str) -> Request:
    """What cancels or forgets a job."""
    return Request(method="DELETE", path=_path(job_id))


def read_job(job_id: str, reader: RecordReader, patience: Patience) -> Program[StreamRecord]:
    """The records of a job that are final now, without those that the reader has."""
    try:
        answer = yield from send(_results(job_id, reader.received, follow=False))
        if not is_record_stream(answer.status, answer.headers):
            raise (yield from refusal(answer))
        complete = answer.headers.get("selsa-complete") == "true"
        yield from records_of(reader, patience.renew, complete=complete)
    except LinkError as error:
        raise broken_link(error, reader) from error


def follow_job(job_id: str, reader: RecordReader, patience: Patience) -> Program[StreamRecord]:
    """The records of a job until its end, without those that the reader has; over as many connections as
    it takes.
    """
    while True:
        failure: SelsaError
        try:
            answer: Answer = yield from send(_results(job_id, reader.received, follow=True))
            if not is_record_stream(answer.status, answer.headers):
                raise (yield from refusal(answer))
            yield from records_of(reader, patience.renew)
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
        yield Pause(patience.wait(failure))


def records_of(
    reader: RecordReader, renew: Callable[[], None], *, complete: bool = True
) -> Program[StreamRecord]:
    """The records of the answer whose head has arrived; `renew` is called with each.

    Raises:
        IncompleteError: the last one is missing, and the answer was said to be `complete`.
    """
    while chunk := (yield from receive()):
        for record in reader.feed(chunk):
            renew()
            yield Give(record)
    if complete:
        for record in reader.finish():
            yield Give(record)


def broken_link(error: LinkError, reader: RecordReader) -> SelsaError:
    """What a broken connection means to the caller: nothing came, or not all."""
    return reader.incomplete(str(error)) if reader.received else ServerUnreachableError(str(error))


def _results(job_id: str, after: int, *, follow: bool) -> Request:
    query = (("after", str(after)), ("follow", "true" if follow else "false"))
    return Request(method="GET", path=f"{_path(job_id)}/results", query=query, headers=RECORDS)


def _path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"

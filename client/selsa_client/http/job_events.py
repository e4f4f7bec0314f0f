"""A job's server-sent events, over as many connections as it takes."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from selsa_client.http.asking import parsed, refusal
from selsa_client.http.exchange import Give, LinkError, Pause, Program, Request, receive, send
from selsa_client.http.patience import Patience
from selsa_client.wire.errors import BusyError, SelsaError, ServerUnreachableError
from selsa_client.wire.records import LineSplitter
from selsa_server.schema.jobs import Job

_LINE_LIMIT: Final = 1 << 20


class EventReader:
    """Server-sent events from bytes that arrive in any pieces; holds one unfinished event at most.

    Attributes:
        last_id: of the last whole event, as it is sent back after a break.
    """

    def __init__(self) -> None:
        self._lines = LineSplitter(_LINE_LIMIT, keep_empty=True)
        self._fields: dict[str, str] = {}
        self.last_id = "0"

    def feed(self, chunk: bytes) -> Iterator[tuple[str, str]]:
        """Kind and data of each event that `chunk` completes.

        Raises:
            WireFormatError: a line has no end.
        """
        for line in self._lines.feed(chunk):
            text = line.decode("utf-8", errors="replace").removesuffix("\r")
            if text:
                # A comment has no name before its colon; it keeps the connection alive.
                name, _, value = text.partition(":")
                self._fields[name] = value.removeprefix(" ")
                continue
            fields, self._fields = self._fields, {}
            if "data" in fields:
                self.last_id = fields.get("id", self.last_id)
                yield fields.get("event", "message"), fields["data"]

    def cut(self) -> None:
        """The connection broke; what was not whole comes again."""
        self._lines.forget()
        self._fields = {}


def job_events(job_id: str, patience: Patience) -> Program[Job]:
    """The job after each change, until its end.

    Raises:
        RejectedError: there is no such job, or no longer.
        SelsaError: as `ask`.
    """
    reader = EventReader()
    while True:
        failure: SelsaError = ServerUnreachableError("The events end although the job has not")
        try:
            answer = yield from send(_request(job_id, reader.last_id))
            if answer.status == HTTPStatus.NO_CONTENT:
                return
            if answer.status != HTTPStatus.OK:
                raise (yield from refusal(answer))
            while chunk := (yield from receive()):
                for kind, data in reader.feed(chunk):
                    patience.renew()
                    yield Give(parsed(Job, data.encode()))
                    if kind == "end":
                        return
        except BusyError as error:
            failure = error
        except LinkError as error:
            failure = ServerUnreachableError(str(error))
        reader.cut()
        yield Pause(patience.wait(failure))


def _request(job_id: str, last_id: str) -> Request:
    path = f"/v1/jobs/{quote(job_id, safe='')}/events"
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last_id}
    return Request(method="GET", path=path, headers=headers)

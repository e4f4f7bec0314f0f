"""Errors of the client.

    SelsaError
    ├── InputError              the video is missing, unreadable or changes while it is sent
    ├── OutputError             the results cannot be written
    ├── ServerUnreachableError  no server answers at the address
    ├── ResponseError           the server answered with an error before the first record
    │   ├── RejectedError       4xx: the request or the video is at fault
    │   ├── BusyError           429 or 503: the server is busy; has `retry_after`
    │   └── ServerFailureError  5xx: the server is at fault
    ├── WireFormatError         the records violate the wire format: is this a selsa server?
    ├── IncompleteError         the records stop before their last one
    ├── DetectionFailedError    an `error` record arrived after the first record
    └── MissingPackageError     the call needs a package that is not installed

`str(error)` is one sentence for the user. Invalid parameters raise `pydantic.ValidationError` before anything
is sent.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pydantic models, which `selsa --help` does not need
    from selsa_server.schema.detect import ErrorRecord


class SelsaError(Exception):
    """Base class of the client's errors."""


class InputError(SelsaError):
    """The video is missing, unreadable or changes while it is sent."""


class OutputError(SelsaError):
    """The results cannot be written."""


class ServerUnreachableError(SelsaError):
    """No server answers at the address, or the connection breaks before an answer."""


class ResponseError(SelsaError):
    """The server, or a proxy in front of it, answered with an error before the first record.

    `code` is the stable code of the problem document, or `http_<status>` for any other answer.
    """

    def __init__(
        self,
        *,
        status: int,
        code: str,
        title: str,
        detail: str,
        parameter: str | None = None,
        allowed: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        request = f", request {request_id}" if request_id else ""
        super().__init__(f"{detail} ({status} {code}{request})")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.parameter = parameter
        self.allowed = allowed
        self.request_id = request_id
        self.retry_after = retry_after


class RejectedError(ResponseError):
    """4xx: the request or the video is at fault; sending it again does not help."""


class BusyError(ResponseError):
    """429 or 503: the server is busy. `retry_after` is in seconds, None if the server names no time."""


class ServerFailureError(ResponseError):
    """5xx: the server is at fault."""


class WireFormatError(SelsaError):
    """The answer violates the wire format: a line that is not a record, or records out of order."""


class IncompleteError(SelsaError):
    """The records stop before their last one. `emitted` counts the frame records that arrived."""

    def __init__(self, message: str, *, emitted: int) -> None:
        super().__init__(message)
        self.emitted = emitted


class DetectionFailedError(SelsaError):
    """Detection failed after the first record. `record` is the error record."""

    def __init__(self, record: "ErrorRecord") -> None:
        super().__init__(f"{record.detail} ({record.status} {record.code})")
        self.record = record
        self.code = record.code
        self.status = record.status
        self.title = record.title
        self.detail = record.detail
        self.emitted = record.emitted


class MissingPackageError(SelsaError):
    """The call needs a package that is not installed; the message names the command that installs it."""

    def __init__(self, what: str, package: str, extra: str | None = None) -> None:
        install = package if extra is None else f"'selsa[{extra}]'"
        super().__init__(f"`{what}` needs the package {package}: pip install {install}")
        self.package = package

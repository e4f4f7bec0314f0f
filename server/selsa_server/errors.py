"""Errors of detection: each has a code that never changes, and a sentence. None knows an HTTP status.

    DetectError
    ├── RequestError        the request itself: empty, malformed, too large, of the wrong type
    ├── ParameterError      a parameter has a value that is not allowed
    ├── VideoError          no video, not decodable, or over a limit
    ├── DecoderError        the decoder crashed, hung or used too much on the video
    ├── OverloadError       no room at the moment; has `retry_after`
    ├── StorageError        a disk of the server is full
    └── EngineFailureError  an engine failed on valid input

Jobs, models and API keys have errors of their own: `jobs.files.JobError`, `service.models.ModelError`,
`api.problems.UnauthorizedError`. `schema.problems` has status and title of each code.

The message is for the person who sent the video: it names the value, what is allowed and what to do.
"""

import errno
from typing import ClassVar, Final


class DetectError(Exception):
    """Base: an error with a `code`, one of its class's `codes`, and a `detail` sentence."""

    codes: ClassVar[frozenset[str]] = frozenset({"internal_error", "not_ready", "deadline_exceeded"})

    def __init__(
        self, code: str, detail: str, *, parameter: str | None = None, allowed: str | None = None
    ) -> None:
        if code not in self.codes:
            raise ValueError(f"{type(self).__name__} has no code {code!r}")
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.parameter = parameter
        self.allowed = allowed


class RequestError(DetectError):
    """The request itself is wrong; its bytes were not read as a video."""

    codes = frozenset(
        {
            "malformed_request",
            "empty_body",
            "not_found",
            "method_not_allowed",
            "not_acceptable",
            "request_timeout",
            "body_too_large",
            "unsupported_media_type",
            "range_not_satisfiable",
            "host_not_allowed",
            "origin_not_allowed",
        }
    )


class ParameterError(DetectError):
    """A parameter has a value that is not allowed; `parameter` and `allowed` say which and what is."""

    codes = frozenset({"invalid_parameter"})

    def __init__(self, parameter: str, detail: str, allowed: str) -> None:
        super().__init__("invalid_parameter", detail, parameter=parameter, allowed=allowed)


class VideoError(DetectError):
    """The bytes are no video, cannot be decoded, or are over a limit."""

    codes = frozenset(
        {
            "video_too_long",
            "too_many_frames",
            "frame_too_large",
            "not_a_video",
            "no_video_stream",
            "not_streamable",
            "no_frames",
            "undecodable",
            "truncated",
        }
    )


class DecoderError(DetectError):
    """The decoder ended before its work was done; only this video is affected."""

    codes = frozenset({"decoder_failed", "decoder_timeout"})


class DecoderLostError(DecoderError):
    """The decoder was ended from outside; the same video may succeed at the next try."""

    codes = DecoderError.codes | {"internal_error"}


class OverloadError(DetectError):
    """No room at the moment, or the server is ending."""

    codes = frozenset({"server_busy", "draining"})

    def __init__(self, detail: str, retry_after: int, *, code: str = "server_busy") -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class EngineFailureError(DetectError):
    """An engine failed on valid input."""

    codes = frozenset({"engine_failed", "engine_memory"})

    def __init__(self, detail: str, *, code: str = "engine_failed") -> None:
        super().__init__(code, detail)


class StorageError(DetectError):
    """A disk of the server is full, or a file would be larger than the system allows."""

    codes = frozenset({"storage_full"})

    def __init__(self, detail: str = "The server's disk is full; send the video again later.") -> None:
        super().__init__("storage_full", detail)


# Seconds a client is asked to wait when the system has no more open files.
FILES_RETRY_AFTER: Final = 5
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TOO_MANY_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})


def shortage(error: BaseException) -> DetectError | None:
    """The error to report if the system is short of disk space or of open files; None for other causes."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _FULL:
        return StorageError()
    if error.errno in _TOO_MANY_FILES:
        wait = FILES_RETRY_AFTER
        return OverloadError(f"The server has too many files open; try again in {wait} s.", wait)
    return None

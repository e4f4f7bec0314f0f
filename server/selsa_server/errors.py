"""Errors of detection: each has a code that never changes, and a sentence. None knows an HTTP status.

    DetectError
    ├── RequestError        the request itself: empty, malformed, too large, of the wrong type
    ├── ParameterError      a parameter has a value that is not allowed
    ├── VideoError          no video, not decodable, or over a limit
    ├── DecoderError        the decoder crashed, hung or used too much on the video
    ├── OverloadError       no room at the moment; has `retry_after`
    └── EngineFailureError  an engine failed on valid input

Jobs, models and API keys have errors of their own: `jobs.files.JobError`, `service.models.ModelError`,
`api.problems.UnauthorizedError`. `schema.problems` has status and title of each code.

The message is for the person who sent the video: it names the value, what is allowed and what to do.
"""

from typing import ClassVar


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

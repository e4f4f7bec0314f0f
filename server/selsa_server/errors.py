"""Errors of the server, each with its HTTP status and a code that never changes.

    DetectError
    ├── RequestError        the request itself: empty, malformed, too large, of the wrong type
    ├── ParameterError      a parameter has a value that is not allowed
    ├── VideoError          the bytes are no video, or one that cannot be decoded or is over a limit
    ├── DecoderError        the decoder crashed, hung or took too much on the video
    ├── JobError            a job that is not there, not that one, or finds no room
    ├── ModelError          a model that cannot be loaded, unloaded or made the default
    ├── UnauthorizedError   no API key, or a wrong one
    ├── OverloadError       no room right now; carries `retry_after`
    └── EngineFailureError  an engine failed; ours, not the caller's

The message is for the person who sent the video: it names the value, what is allowed and what to do.
"""

from typing import ClassVar, Final

from selsa_server.schema.detect import ErrorRecord, Problem

# code -> (status, title). The codes are part of the interface.
TITLES: Final[dict[str, tuple[int, str]]] = {
    "malformed_request": (400, "The request is malformed"),
    "empty_body": (400, "The request has no body"),
    "unauthorized": (401, "The request has no valid API key"),
    "models_fixed": (403, "The models of this server cannot be changed"),
    "not_found": (404, "There is nothing at this address"),
    "job_not_found": (404, "There is no such job"),
    "model_not_found": (404, "There is no such model"),
    "method_not_allowed": (405, "This address does not take this method"),
    "not_acceptable": (406, "None of the accepted media types can be given"),
    "request_timeout": (408, "The upload came too slowly"),
    "model_is_default": (409, "The default model cannot be unloaded"),
    "model_loading": (409, "A bundle is being loaded under this name"),
    "job_cancelled": (410, "The job was cancelled"),
    "model_gone": (410, "The job's model is not served any more"),
    "body_too_large": (413, "The upload is too large"),
    "video_too_long": (413, "The video is too long"),
    "too_many_frames": (413, "The video has too many frames"),
    "frame_too_large": (413, "The frames are too large"),
    "unsupported_media_type": (415, "The content type is not a video's"),
    "not_a_video": (415, "The file is not a video"),
    "no_video_stream": (415, "The file has no video stream"),
    "not_streamable": (415, "The file cannot be sent as a live stream"),
    "invalid_parameter": (422, "A parameter has a value that is not allowed"),
    "idempotency_key_reused": (422, "The idempotency key belongs to another request"),
    "invalid_bundle": (422, "The bundle cannot be used"),
    "no_frames": (422, "The video has no frames"),
    "undecodable": (422, "The video cannot be decoded"),
    "truncated": (422, "The video is cut off"),
    "decoder_failed": (422, "The decoder failed on the video"),
    "engine_failed": (500, "The detection engine failed"),
    "internal_error": (500, "The server failed"),
    "jobs_unavailable": (503, "This server takes no jobs"),
    "not_ready": (503, "The server is not ready"),
    "server_busy": (503, "The server is busy"),
    "draining": (503, "The server is ending"),
    "deadline_exceeded": (504, "The request took too long"),
    "decoder_timeout": (504, "The decoder made no progress"),
    "jobs_full": (507, "There is no room for the job"),
    "models_full": (507, "There is no room for the model"),
    "engine_memory": (507, "The device has no memory for the frames"),
}


class DetectError(Exception):
    """Base: an error with a `code` of `TITLES` and a `detail` sentence."""

    codes: ClassVar[frozenset[str]] = frozenset(TITLES)

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
        self.status, self.title = TITLES[code]

    def problem(self, request_id: str | None = None) -> Problem:
        """This error as the body of an `application/problem+json` response."""
        return Problem(
            type=f"urn:selsa:problem:{self.code}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            parameter=self.parameter,
            allowed=self.allowed,
            request_id=request_id,
        )

    def record(self, emitted: int) -> ErrorRecord:
        """This error as the last record of a stream that had begun."""
        return ErrorRecord(
            code=self.code, status=self.status, title=self.title, detail=self.detail, emitted=emitted
        )


class RequestError(DetectError):
    """The request itself is at fault, before its bytes were looked at as a video."""

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
    """The decoder ended before its work was done: what happened, and that it cost this video alone."""

    codes = frozenset({"decoder_failed", "decoder_timeout"})


class JobError(DetectError):
    """A job that is not there (any more), is another one than meant, or finds no room."""

    codes = frozenset(
        {
            "job_not_found",
            "job_cancelled",
            "idempotency_key_reused",
            "jobs_full",
            "jobs_unavailable",
            "model_gone",
        }
    )


class ModelError(DetectError):
    """A model that is not there or may not be changed, or a bundle that cannot become one."""

    codes = frozenset(
        {
            "models_fixed",
            "model_not_found",
            "model_is_default",
            "model_loading",
            "models_full",
            "invalid_bundle",
        }
    )


class UnauthorizedError(DetectError):
    """No API key, or a wrong one; which of them is not said."""

    codes = frozenset({"unauthorized"})

    def __init__(self) -> None:
        super().__init__(
            "unauthorized",
            "This server wants an API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
        )


class OverloadError(DetectError):
    """No room right now, or no more work at all."""

    codes = frozenset({"server_busy", "draining"})

    def __init__(self, detail: str, retry_after: int, *, code: str = "server_busy") -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class EngineFailureError(DetectError):
    """An engine failed on valid input."""

    codes = frozenset({"engine_failed", "engine_memory"})

    def __init__(self, detail: str, *, code: str = "engine_failed") -> None:
        super().__init__(code, detail)

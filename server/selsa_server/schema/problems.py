"""The wire format of errors: each code with its HTTP status and title. The codes never change.

Errors inside the server have a code and no status; here they become what a client reads.
"""

from typing import Final, Protocol, runtime_checkable

from selsa_server.schema.detect import ErrorRecord, Problem

# code -> (status, title)
TITLES: Final[dict[str, tuple[int, str]]] = {
    "malformed_request": (400, "The request is malformed"),
    "empty_body": (400, "The request has no body"),
    "unauthorized": (401, "The request has no valid API key"),
    "origin_not_allowed": (403, "Pages of this origin may not use the server"),
    "url_not_allowed": (403, "The server does not use this address"),
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
    "range_not_satisfiable": (416, "The file does not have this range"),
    "host_not_allowed": (421, "This server does not serve this host name"),
    "invalid_parameter": (422, "A parameter has a value that is not allowed"),
    "idempotency_key_reused": (422, "The idempotency key belongs to another request"),
    "invalid_bundle": (422, "The bundle cannot be used"),
    "unsupported_playlist": (422, "The playlist is not one finished video"),
    "no_frames": (422, "The video has no frames"),
    "undecodable": (422, "The video cannot be decoded"),
    "truncated": (422, "The video is cut off"),
    "decoder_failed": (422, "The decoder failed on the video"),
    "engine_failed": (500, "The detection engine failed"),
    "internal_error": (500, "The server failed"),
    "download_failed": (502, "The video could not be downloaded"),
    "jobs_unavailable": (503, "This server takes no jobs"),
    "not_ready": (503, "The server is not ready"),
    "server_busy": (503, "The server is busy"),
    "draining": (503, "The server is ending"),
    "deadline_exceeded": (504, "The request took too long"),
    "download_timeout": (504, "The download took too long"),
    "decoder_timeout": (504, "The decoder made no progress"),
    "jobs_full": (507, "There is no room for the job"),
    "models_full": (507, "There is no room for the model"),
    "storage_full": (507, "The server's disk is full"),
    "engine_memory": (507, "The device has no memory for the frames"),
}


@runtime_checkable
class CodedError(Protocol):
    """An error with a code of `TITLES` and a sentence."""

    @property
    def code(self) -> str:
        """A key of `TITLES`."""

    @property
    def detail(self) -> str:
        """A sentence for the person who sent the request."""

    @property
    def parameter(self) -> str | None:
        """The parameter or header at fault."""

    @property
    def allowed(self) -> str | None:
        """Its allowed values."""


def status_of(code: str) -> int:
    """The HTTP status of a code."""
    return TITLES[code][0]


def problem_of(error: CodedError, request_id: str | None = None) -> Problem:
    """The body of an `application/problem+json` response."""
    status, title = TITLES[error.code]
    return Problem(
        type=f"urn:selsa:problem:{error.code}",
        title=title,
        status=status,
        detail=error.detail,
        code=error.code,
        parameter=error.parameter,
        allowed=error.allowed,
        request_id=request_id,
    )


def error_record(error: CodedError, emitted: int) -> ErrorRecord:
    """The last record of a stream that fails after `emitted` frame records."""
    status, title = TITLES[error.code]
    return ErrorRecord(code=error.code, status=status, title=title, detail=error.detail, emitted=emitted)

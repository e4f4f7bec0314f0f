"""HTTP messages without a transport: parameters as a query, answers as errors."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal, TypedDict
from urllib.parse import urlsplit

from pydantic import ValidationError

from selsa_client.wire.errors import BusyError, RejectedError, ResponseError, ServerFailureError
from selsa_server.schema.detect import NDJSON, PROBLEM_JSON, DetectParams, ErrorRecord, Problem

DEFAULT_SERVER: Final = "http://127.0.0.1:8000"

# A problem document has some hundred bytes, a proxy's error page some thousand. The rest is not read.
ERROR_BODY_LIMIT: Final = 65_536

# Headers of a request for records, and of a request that sends a video.
RECORDS: Final = {"Accept": f"{NDJSON}, {PROBLEM_JSON}"}
VIDEO: Final = {"Content-Type": "application/octet-stream"}

_SNIPPET: Final = 200


class CommonOptions(TypedDict, total=False):
    """The parameters that a request and a live stream share."""

    model: str | None
    bank: Literal["spread", "first"]
    score_threshold: float
    max_detections: int | None
    classes: tuple[str, ...] | list[str]
    reference_frames: int | None
    stride: int
    decode: Literal["strict", "tolerant"]
    tracks: bool
    rescore: bool


class DetectOptions(CommonOptions, total=False):
    """`DetectParams` as typed keyword arguments; a test compares the two."""

    mode: Literal["sequence", "online"]
    fill: Literal["none", "interpolate"]
    start: float | None
    end: float | None


class JobOptions(DetectOptions, total=False):
    """`JobParams` as typed keyword arguments; a test compares the two."""

    webhook: str | None
    webhook_summary: bool


class LiveOptions(CommonOptions, total=False):
    """The options of a live stream as typed keyword arguments; a test compares them with `StreamStart`."""

    drop: Literal["never", "oldest"]


def check_server(address: str) -> str:
    """Return the address of a server unchanged if it is valid.

    Raises:
        ValueError: it is not an http(s) address with a host and, if given, a valid port.
    """
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{address!r} is not a server's address; expected one like {DEFAULT_SERVER}")
    return address


def detect_query(params: DetectParams) -> tuple[tuple[str, str], ...]:
    """The query of `POST /detect`: values other than the defaults, `classes` once per name."""
    pairs: list[tuple[str, str]] = []
    for name, value in params.model_dump(exclude_defaults=True, mode="json").items():
        values = value if isinstance(value, list) else [value]
        pairs.extend((name, "true" if each is True else str(each)) for each in values)
    return tuple(pairs)


def check_api_key(key: str) -> str:
    """Return an API key unchanged if it is valid.

    Raises:
        ValueError: a header cannot carry it.
    """
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError("an API key must consist of printable ASCII characters without spaces")
    return key


def error_from_record(record: ErrorRecord) -> ResponseError:
    """The error that an `error` record in place of the first record means."""
    kind = _error_class(record.status)
    return kind(status=record.status, code=record.code, title=record.title, detail=record.detail)


def is_record_stream(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer carries records; if not, use `error_from_response`."""
    return status == HTTPStatus.OK and _media_type(headers) == NDJSON


def error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> ResponseError:
    """The error that an answer without records means; `body` may be cut at `ERROR_BODY_LIMIT`.

    `headers` must be case-insensitive, like httpx's.
    """
    kind = _error_class(status)
    retry_after = _retry_after(headers.get("retry-after"))
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        return kind(
            status=status,
            code=f"http_{status}",
            title=_phrase(status),
            detail=_foreign_detail(status, headers, body),
            request_id=headers.get("x-request-id"),
            retry_after=retry_after,
        )
    return kind(
        status=status,
        code=problem.code,
        title=problem.title,
        detail=problem.detail,
        parameter=problem.parameter,
        allowed=problem.allowed,
        request_id=problem.request_id or headers.get("x-request-id"),
        retry_after=retry_after,
    )


def _error_class(status: int) -> type[ResponseError]:
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return BusyError
    if 400 <= status < 500:
        return RejectedError
    if status >= 500:
        return ServerFailureError
    return ResponseError


def _foreign_detail(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """A sentence for an answer without a problem document: a proxy's page, a redirect, another service."""
    if 300 <= status < 400:
        return (
            f"The address redirects to {headers.get('location', 'nowhere')}; use that as the server's address"
        )
    if status == HTTPStatus.OK:
        media_type = _media_type(headers) or "of no media type"
        return f"The answer is {media_type}, not {NDJSON}; is this a selsa server?"
    text = _snippet(_media_type(headers), body)
    said = f": {text}" if text else ""
    return f"The server or a proxy before it answered {status} {_phrase(status)}{said}"


def _snippet(media_type: str, body: bytes) -> str:
    text = body.decode("utf-8", errors="replace")
    if media_type == "text/html":
        # The title of an error page summarises it.
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        text = title[1] if title else ""
    elif not (media_type.startswith("text/") or media_type.endswith("json")):
        return ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _SNIPPET else text[:_SNIPPET] + "..."


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(no standard status)"


def _retry_after(value: str | None) -> float | None:
    """Seconds from now, from either form in RFC 9110 10.2.3; None if missing or malformed."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())

"""Requests carry values other than the defaults; every answer without records becomes one error."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import get_type_hints

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selsa_client.http.protocol import (
    DetectOptions,
    JobOptions,
    LiveOptions,
    check_api_key,
    check_server,
    detect_query,
    error_from_response,
    is_record_stream,
)
from selsa_client.http.retries import RetryPolicy
from selsa_client.wire.errors import BusyError, RejectedError, ResponseError, ServerFailureError
from selsa_server.schema.detect import DetectParams
from selsa_server.schema.jobs import JobParams
from selsa_server.schema.stream import StreamStart


def error_of(status, body=b"", **headers):
    fields = httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return error_from_response(status, fields, body)


def test_defaults_are_left_out_of_the_query():
    assert detect_query(DetectParams()) == ()
    assert detect_query(DetectParams(score_threshold=0.05, stride=1)) == ()


def test_classes_are_repeated_in_the_query():
    query = detect_query(DetectParams(classes=("dog", "red panda"), end=2.5))
    assert query == (("classes", "dog"), ("classes", "red panda"), ("end", "2.5"))


@given(
    st.builds(
        DetectParams,
        mode=st.sampled_from(["sequence", "online"]),
        score_threshold=st.floats(0, 1),
        max_detections=st.none() | st.integers(1, 4096),
        classes=st.lists(st.text(min_size=1, max_size=9), max_size=4).map(tuple),
        reference_frames=st.none() | st.integers(0, 64),
        start=st.none() | st.floats(0, 1e6),
        stride=st.integers(1, 100_000),
    )
)
def test_the_query_carries_the_parameters_and_back(params):
    fields: dict[str, object] = {}
    for name, value in detect_query(params):
        fields[name] = (*fields.get("classes", ()), value) if name == "classes" else value
    assert DetectParams.model_validate(fields) == params


# Fields of a stream's first message that are no options.
FIXED = {"type", "container", "mode", "start", "end", "fill"}


def test_typed_options_are_the_fields_of_the_schema():
    assert get_type_hints(DetectOptions).keys() == DetectParams.model_fields.keys()
    assert get_type_hints(JobOptions).keys() == JobParams.model_fields.keys()
    assert get_type_hints(LiveOptions).keys() == StreamStart.model_fields.keys() - FIXED


@pytest.mark.parametrize("key", ["", "two words", "line\n", "schlüssel"])
def test_an_invalid_key_is_refused(key):
    with pytest.raises(ValueError, match="printable"):
        check_api_key(key)


@pytest.mark.parametrize("status", [each.value for each in HTTPStatus if each >= 300] + [299, 499, 599])
def test_every_status_becomes_one_error_of_the_tree(samples, status):
    busy, rejected, failed = status in (429, 503), 400 <= status < 500, status >= 500
    kind = (
        BusyError if busy else RejectedError if rejected else ServerFailureError if failed else ResponseError
    )
    foreign = error_of(status)
    ours = error_of(
        status,
        samples.problem(status, "invalid_parameter", parameter="stride", allowed=">= 1", request_id="abc"),
        content_type="application/problem+json",
    )
    assert type(foreign) is type(ours) is kind
    assert (foreign.status, foreign.code) == (status, f"http_{status}")
    assert (ours.code, ours.parameter, ours.allowed, ours.request_id) == (
        "invalid_parameter",
        "stride",
        ">= 1",
        "abc",
    )
    assert "what to do" in str(ours)
    assert "abc" in str(ours)


def test_a_proxys_page_gives_its_title_only():
    page = b"<html><head><title>502 Bad\n Gateway</title></head><body>" + b"x" * 9999
    error = error_of(502, page, content_type="text/html; charset=utf-8")
    assert error.detail == "The server or a proxy before it answered 502 Bad Gateway: 502 Bad Gateway"


@given(st.binary(), st.sampled_from(["text/html", "text/plain", "application/json", "image/png", ""]))
def test_any_body_gives_one_short_printable_line(body, media_type):
    text = str(error_of(500, body, content_type=media_type))
    assert len(text) < 400
    assert text.isprintable()


def test_a_redirect_names_where_to():
    assert "https://elsewhere/" in str(error_of(308, location="https://elsewhere/"))


def test_only_a_200_of_ndjson_is_a_record_stream():
    assert is_record_stream(200, httpx.Headers({"Content-Type": "Application/X-NDJSON; charset=utf-8"}))
    assert not is_record_stream(200, httpx.Headers({"Content-Type": "text/html"}))
    assert not is_record_stream(503, httpx.Headers({"Content-Type": "application/x-ndjson"}))
    assert "is this a selsa server?" in str(error_of(200, b"<html>", content_type="text/html"))


def test_retry_after_is_read_as_seconds_and_as_a_date():
    assert error_of(503, retry_after="7").retry_after == 7
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert error_of(429, retry_after=soon).retry_after == pytest.approx(30, abs=3)
    assert error_of(503, retry_after="Mon, 01 Jan 2001 00:00:00 GMT").retry_after == 0


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_malformed_retry_after_is_ignored(value):
    seconds = error_of(503, retry_after=value).retry_after
    assert seconds is None or seconds >= 0


@given(st.integers(0, 99), st.none() | st.floats(0, 60), st.floats(0, 1, exclude_max=True))
def test_a_retry_is_never_early_and_never_much_later(attempt, told, jitter):
    error = BusyError(status=503, code="server_busy", title="", detail="", retry_after=told)
    delay = RetryPolicy(retries=100).delay(attempt, error, jitter=jitter)
    assert delay is not None
    assert (told or 0) <= delay <= 75
    assert RetryPolicy(retries=attempt).delay(attempt, error, jitter=jitter) is None


def test_a_retry_after_beyond_the_longest_wait_ends_the_retries():
    error = BusyError(status=503, code="server_busy", title="", detail="", retry_after=3600)
    assert RetryPolicy(retries=3).delay(0, error, jitter=0) is None


@pytest.mark.parametrize(
    "address", ["", "localhost:8000", "ftp://h", "http://", "http://h:x", "http://h:0", "//h"]
)
def test_an_invalid_address_is_refused(address):
    with pytest.raises(ValueError, match="is not a server's address"):
        check_server(address)

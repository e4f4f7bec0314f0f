"""HTTP itself: ambiguous bodies, no HTTP at all, HEAD, repeated parameters, odd numbers."""

import json
from collections.abc import Iterator

import httpx
import pytest
from fake_engines import FakeEngines
from live_server import live_server
from pydantic import ValidationError
from raw import connected, read_all

from selsa_server.cli.serve import mistyped_variables
from selsa_server.settings import ServerSettings


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("protocol")
    with live_server(FakeEngines(), ServerSettings(spool_dir=folder, header_timeout=1)) as address:
        yield address


def test_a_body_with_two_lengths_closes_the_connection(address: str) -> None:
    head = b"PUT /v1/models/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(address, head + b"0\r\n\r\n" + smuggled) as connection:
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 200_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["nonsense", "no host", "two hosts", "version", "large head", "TLS"],
)
def test_bytes_that_are_no_request_get_a_problem(address: str, data: bytes) -> None:
    with connected(address, data) as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 "))
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] in ("malformed_request", "request_timeout")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "99"},
        {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="},
        {"Sec-WebSocket-Key": "\xff" * 9000, "Sec-WebSocket-Version": "13"},
    ],
)
def test_a_failed_handshake_of_a_websocket_is_a_problem(address: str, fields: dict[str, str]) -> None:
    lines = ["GET /stream HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    with connected(address, "\r\n".join([*lines, "", ""]).encode("latin-1")) as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert problem["code"] == "malformed_request"
    assert "Sec-WebSocket" in problem["detail"]


@pytest.mark.parametrize(("size", "status"), [(1, 400), (31, 400), (32, 415), (4096, 415)])
def test_an_upload_in_tiny_chunks_is_refused(address: str, size: int, status: int) -> None:
    """Each chunk costs processor time, whatever its size."""
    head = b"POST /detect HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    # The first chunks may have any size: with 31 bytes each, 20,000 are enough to be refused.
    body = b"%x\r\n%s\r\n" % (size, b"x" * size) * min(20_000, (1 << 20) // size)
    with connected(address, head + body + b"0\r\n\r\n") as connection:
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_broken_chunk_in_an_upload_gets_a_problem(address: str) -> None:
    head = b"POST /detect HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(address, head + b"3\r\nabc\r\nzz\r\n") as connection:
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/readyz",
        "/metrics",
        "/model",
        "/models",
        "/v1/models",
        "/v1/jobs",
        "/openapi.json",
        "/docs",
        "/",
    ],
)
def test_head_is_get_without_a_body(address: str, path: str) -> None:
    head, got = httpx.head(f"http://{address}{path}"), httpx.get(f"http://{address}{path}")
    assert head.status_code == got.status_code == 200
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.content == b""


def test_head_of_an_address_that_takes_posts_only_is_refused(address: str) -> None:
    assert httpx.head(f"http://{address}/detect").status_code == 405


@pytest.mark.parametrize(
    "query",
    [
        "stride=1&stride=2",
        "model=a&model=b",
        "stride=0_1",
        "stride=1_0",
        "score_threshold=0_0.5",
        "score_threshold=inf",
        "score_threshold=nan",
        "start=inf",
        "end=nan",
        "&".join(f"a{number}=1" for number in range(500)),
    ],
)
def test_odd_parameters_are_refused_in_few_words(address: str, query: str) -> None:
    answer = httpx.post(f"http://{address}/detect?{query}", content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    assert len(answer.text) < 2000


@pytest.mark.parametrize(
    ("query", "parameter", "allowed"),
    [
        ("start=3&end=2", "end", "greater than start"),
        ("fill=interpolate&mode=online", "fill", "needs the mode sequence"),
        ("tracks=2", "tracks", "true or false"),
    ],
)
def test_the_parameter_at_fault_is_named(address: str, query: str, parameter: str, allowed: str) -> None:
    problem = httpx.post(f"http://{address}/detect?{query}", content=b"abc").json()
    assert (problem["code"], problem["parameter"]) == ("invalid_parameter", parameter)
    assert allowed in problem["allowed"]


@pytest.mark.parametrize("query", ["after=1_0", "after=1&after=2", "follow=1&follow=0"])
def test_odd_parameters_of_results_are_refused(address: str, query: str) -> None:
    answer = httpx.get(f"http://{address}/v1/jobs/{'a' * 24}/results?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")


@pytest.mark.parametrize(
    ("query", "accept"), [("format=csv", "*/*"), ("format=coco", "*/*"), ("", "text/csv")]
)
def test_results_in_an_unknown_format_are_refused(address: str, query: str, accept: str) -> None:
    path = f"/v1/jobs/{'a' * 24}/results?{query}"
    answer = httpx.get(f"http://{address}{path}", headers={"Accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/metrics", "/openapi.json", "/docs"])
def test_no_answer_is_sniffed(address: str, path: str) -> None:
    assert httpx.get(f"http://{address}{path}").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["upload_timeout", "send_timeout", "jobs_ttl", "header_timeout", "drain_timeout"]
)
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_timeout_has_an_end(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        ServerSettings(**{name: value})


def test_a_mistyped_variable_is_named_with_the_nearest_setting() -> None:
    environment = {
        "SELSA_UPLOAD_TIMOUT": "3",
        "SELSA_PORT": "1",
        "SELSA_SERVER": "x",
        "SELSA_API_KEY": "x",
        "A": "b",
    }
    assert mistyped_variables(environment) == [("SELSA_UPLOAD_TIMOUT", "SELSA_UPLOAD_TIMEOUT")]


def test_operations_have_the_names_of_a_generated_client(address: str) -> None:
    paths = httpx.get(f"http://{address}/openapi.json").json()["paths"]
    named = {operation["operationId"] for each in paths.values() for operation in each.values()}
    assert {"detect", "draw", "create_job", "list_jobs", "get_job", "delete_job", "get_job_results"} <= named
    assert {"list_models", "get_model", "load_model", "unload_model", "set_default_model"} <= named
    assert all(name.isidentifier() and name.islower() for name in named)

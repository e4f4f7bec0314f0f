"""What the server says of itself."""

import time
from typing import Any

import pytest
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient

from selsa_bundle.runtimes.fake import FakeEngines
from selsa_server.api.app import build_app
from selsa_server.jobs.files import JobError
from selsa_server.jobs.remote.addresses import RemoteError
from selsa_server.schema.problems import TITLES
from selsa_server.service.models import ModelError
from selsa_server.settings import ServerSettings


def test_it_is_alive_before_it_is_ready(settings: ServerSettings) -> None:
    pipeline = fake_pipeline(FakeEngines(seconds_per_frame=0.3))
    with TestClient(build_app(pipeline, settings, fork_server=FORK_SERVER)) as client:
        assert client.get("/healthz").status_code == 200
        early = client.get("/readyz")
        assert (early.status_code, early.json()["code"]) == (503, "not_ready")
        deadline = time.monotonic() + 60
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_it_is_never_ready_when_the_engines_fail(settings: ServerSettings) -> None:
    with TestClient(
        build_app(fake_pipeline(FakeEngines(fail_at=0)), settings, fork_server=FORK_SERVER)
    ) as client:
        time.sleep(0.1)
        response = client.get("/readyz")
        assert response.status_code == 503
        assert "failed" in response.json()["detail"]


def test_the_model_is_described(client: TestClient) -> None:
    model = client.get("/model").json()
    assert model["classes"] == ["dog", "fox"]
    assert model["provider"] == "fake"
    assert model["bundle"].startswith("sha256:")


@pytest.mark.parametrize("given", ["abc-123", "A" * 64])
def test_a_harmless_request_id_is_kept(client: TestClient, given: str) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "A" * 65, "x;y", "<script>", "abc\t1"])
def test_another_request_id_is_replaced(client: TestClient, given: str) -> None:
    kept = client.get("/nothing", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert kept != given
    assert len(kept) == 32


@pytest.fixture
def operation(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()["paths"]["/detect"]["post"]
    return found


def test_openapi_describes_both_content_types_of_the_body(operation: dict[str, Any]) -> None:
    content = operation["requestBody"]["content"]
    assert set(content) == {"application/octet-stream", "video/*", "multipart/form-data"}
    assert content["multipart/form-data"]["schema"]["required"] == ["file"]


def test_openapi_describes_all_media_types_of_the_response(operation: dict[str, Any]) -> None:
    forms = {"application/json", "application/x-ndjson", "video/mp4"}
    assert set(operation["responses"]["200"]["content"]) == forms


def test_openapi_describes_every_problem(operation: dict[str, Any]) -> None:
    described = {int(status) for status in operation["responses"]} - {200}
    codes = JobError.codes | ModelError.codes | RemoteError.codes
    elsewhere = {404, 405} | {TITLES[code][0] for code in codes} - {403, 422, 503, 504, 507}
    assert described == {status for status, _ in TITLES.values()} - elsewhere
    for status in described:
        content = operation["responses"][str(status)]["content"]
        assert list(content) == ["application/problem+json"]


def test_openapi_describes_every_parameter(operation: dict[str, Any]) -> None:
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert {"score_threshold", "classes", "decode", "start", "end", "stride"} <= names

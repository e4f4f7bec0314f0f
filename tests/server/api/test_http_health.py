"""What the server says of itself."""

import re
import threading
import time
from typing import Any

import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient

from selsa_server.api.app import build_app
from selsa_server.jobs.files import JobError
from selsa_server.jobs.remote.addresses import RemoteError
from selsa_server.schema.problems import TITLES
from selsa_server.service.models import ModelError
from selsa_server.settings import ServerSettings


class HeldEngines(FakeEngines):
    """Engines whose calls wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def run_frames(self, frames: Any, image_size: Any) -> Any:
        assert self.let_go.wait(60)
        return super().run_frames(frames, image_size)


def test_it_is_alive_before_it_is_ready(settings: ServerSettings) -> None:
    engines = HeldEngines()
    with TestClient(build_app(fake_pipeline(engines), settings, fork_server=FORK_SERVER)) as client:
        assert client.get("/healthz").status_code == 200
        early = client.get("/readyz")
        assert (early.status_code, early.json()["code"]) == (503, "not_ready")
        engines.let_go.set()
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
    """By its code and under its status; the other codes are those of other addresses."""
    problems = {status: found for status, found in operation["responses"].items() if status != "200"}
    described = {
        code: int(status)
        for status, found in problems.items()
        for code in re.findall(r"`(\w+)`:", found["description"])
    }
    elsewhere = (
        {"not_found", "method_not_allowed", "not_ready"}
        | JobError.codes
        | ModelError.codes
        | RemoteError.codes
    )
    assert described == {code: status for code, (status, _) in TITLES.items() if code not in elsewhere}
    for found in problems.values():
        reference = {"$ref": "#/components/schemas/Problem"}
        assert found["content"] == {"application/problem+json": {"schema": reference}}


def test_every_address_but_the_probes_describes_the_refusals_of_all(client: TestClient) -> None:
    paths: dict[str, Any] = client.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method, found in operations.items():
            text = " ".join(answer["description"] for answer in found["responses"].values())
            named = {
                code for code in ("unauthorized", "host_not_allowed", "origin_not_allowed") if code in text
            }
            foreign = set() if method == "get" else {"origin_not_allowed"}
            probe = path in ("/healthz", "/readyz")
            assert named == (set() if probe else {"unauthorized", "host_not_allowed"} | foreign), path


def test_every_reference_of_the_document_has_its_schema(client: TestClient) -> None:
    text = client.get("/openapi.json").text
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', text)) | {"Record"} == set(schemas)
    kinds = schemas["Record"]["discriminator"]["mapping"]
    assert set(kinds) == {"video", "frame", "summary", "error"}


def test_openapi_describes_every_parameter(operation: dict[str, Any]) -> None:
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert {"score_threshold", "classes", "decode", "start", "end", "stride"} <= names

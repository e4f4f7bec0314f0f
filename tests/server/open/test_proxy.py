"""Below a prefix of a proxy, and without internet."""

import hashlib
import re
from typing import Any

import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from media import write_video

import selsa_server.api.routes.docs as docs
from selsa_server.api.app import build_app
from selsa_server.settings import ServerSettings


def client_of(settings: ServerSettings, **changes: Any) -> TestClient:
    app = build_app(
        fake_pipeline(FakeEngines()), settings.model_copy(update=changes), fork_server=FORK_SERVER
    )
    return TestClient(app)


@pytest.mark.parametrize(
    ("changes", "headers"),
    [({"root_path": "/selsa"}, {}), ({"forwarded_prefix": True}, {"X-Forwarded-Prefix": "/selsa/"})],
    ids=["setting", "header"],
)
def test_addresses_in_answers_have_the_prefix(
    settings: ServerSettings, tmp_path: Any, changes: dict[str, Any], headers: dict[str, str]
) -> None:
    video = write_video(tmp_path / "v.mp4", 3).read_bytes()
    with client_of(settings, **changes) as client:
        assert client.get("/openapi.json", headers=headers).json()["servers"] == [{"url": "/selsa"}]
        job = client.post("/v1/jobs", content=video, headers=headers)
        assert job.headers["location"].startswith("/selsa/v1/jobs/")
        moved = client.get("/v1/jobs/", headers=headers, follow_redirects=False)
        assert (moved.status_code, moved.headers["location"]) == (307, "http://testserver/selsa/v1/jobs")


@pytest.mark.parametrize("prefix", ["//evil.example", "/a b", '/a"', "https://evil.example", "/.." * 3 + "?"])
def test_a_forwarded_prefix_of_another_form_is_ignored(settings: ServerSettings, prefix: str) -> None:
    with client_of(settings, forwarded_prefix=True) as client:
        answer = client.get("/openapi.json", headers={"X-Forwarded-Prefix": prefix})
        assert "servers" not in answer.json()


def test_without_the_setting_the_header_is_ignored(settings: ServerSettings) -> None:
    with client_of(settings) as client:
        assert "servers" not in client.get("/openapi.json", headers={"X-Forwarded-Prefix": "/x"}).json()


def test_the_documentation_loads_nothing_from_elsewhere(settings: ServerSettings) -> None:
    with client_of(settings) as client:
        page = client.get("/docs")
        assert "unsafe" not in page.headers["content-security-policy"]
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len([path for path in loaded if path.startswith("docs/")]) == 3
        assert all(path.startswith(("docs/", "data:")) for path in loaded)
        for path in loaded:
            if path.startswith("docs/"):
                assert client.get(f"/{path}").status_code == 200
        assert client.get("/docs/LICENSE").status_code == 404


def test_the_files_of_swagger_ui_are_those_of_the_pinned_package() -> None:
    for line in (docs.FOLDER / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((docs.FOLDER / name).read_bytes()).hexdigest() == digest, name

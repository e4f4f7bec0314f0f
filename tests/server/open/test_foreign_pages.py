"""Pages of other sites, and names that are made to point at this server."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from live_server import live_server
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from selsa_server.api.app import build_app
from selsa_server.settings import ServerSettings

FRIEND = "https://friend.example"


def client_of(settings: ServerSettings, **changes: Any) -> TestClient:
    changed = settings.model_copy(update={"allowed_hosts": (), **changes})
    app = build_app(fake_pipeline(FakeEngines()), changed, fork_server=FORK_SERVER)
    return TestClient(app, base_url="http://localhost:8000")


@pytest.fixture
def address(engines: FakeEngines, settings: ServerSettings) -> Iterator[str]:
    with live_server(engines, settings.model_copy(update={"cors_origins": (FRIEND,)})) as address:
        yield address


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST", "a.localhost"]
)
def test_names_of_this_machine_are_served(settings: ServerSettings, host: str) -> None:
    assert client_of(settings).get("/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", ""]
)
def test_other_names_are_refused(settings: ServerSettings, host: str) -> None:
    answer = client_of(settings).get("/models", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "host_not_allowed")


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("video.example", "video.example", 200),
        ("*.video.example", "a.video.example:80", 200),
        ("*.video.example", "avideo.example", 421),
        ("*", "any.example", 200),
    ],
)
def test_allowed_hosts_adds_names(settings: ServerSettings, allowed: str, host: str, status: int) -> None:
    client = client_of(settings, allowed_hosts=(allowed,))
    assert client.get("/models", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("host", "status"), [("10.1.2.3:8000", 200), ("[fe80::1]", 200), ("evil.example", 421)]
)
def test_a_server_on_all_addresses_serves_addresses_and_no_foreign_names(
    settings: ServerSettings, host: str, status: int
) -> None:
    client = client_of(settings, host="0.0.0.0")
    assert client.get("/models", headers={"Host": host}).status_code == status


def test_probes_need_no_name(settings: ServerSettings) -> None:
    assert client_of(settings).get("/healthz", headers={"Host": "10.0.0.1"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/detect"), ("POST", "/v1/jobs"), ("PUT", "/v1/models/x"), ("DELETE", "/v1/models/x")],
)
def test_foreign_pages_change_nothing(
    settings: ServerSettings, headers: dict[str, str], method: str, path: str
) -> None:
    answer = client_of(settings).request(method, path, headers=headers, content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://localhost:8000"}, {"Origin": FRIEND, "Sec-Fetch-Site": "cross-site"}],
    ids=["no page", "own page", "allowed page"],
)
def test_programs_and_allowed_pages_may_post(settings: ServerSettings, headers: dict[str, str]) -> None:
    client = client_of(settings, cors_origins=(FRIEND,))
    assert client.post("/detect", headers=headers, content=b"x").status_code == 415


def test_preflight_requests_are_answered_for_allowed_origins_only(address: str) -> None:
    def preflight(origin: str) -> httpx.Response:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
        return httpx.options(f"http://{address}/detect", headers={"Origin": origin, **asked})

    friend, other = preflight(FRIEND), preflight("https://evil.example")
    assert (friend.status_code, friend.headers["access-control-allow-origin"]) == (200, FRIEND)
    assert "x-api-key" in friend.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_foreign_pages_open_no_stream(address: str, origin: str) -> None:
    with pytest.raises(InvalidStatus, match="403"), connect(f"ws://{address}/stream", origin=Origin(origin)):
        pass


@pytest.mark.parametrize("origin", [None, FRIEND, "own"])
def test_programs_and_allowed_pages_open_streams(address: str, origin: str | None) -> None:
    given = Origin(f"http://{address}") if origin == "own" else None if origin is None else Origin(origin)
    with connect(f"ws://{address}/stream", origin=given):
        pass


def test_a_stream_for_a_foreign_name_is_refused(address: str) -> None:
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port))) as connection,
        pytest.raises(InvalidStatus, match="403"),
        connect("ws://evil.example/stream", sock=connection),
    ):
        pass

"""What the server says of its page, before any browser looks at it."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import pytest
from media import frame_pixels
from served_page import fake_server
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

import selsa_server
from selsa_bundle.default_bundle import sample_video

BUILT = Path(selsa_server.__file__).parent / "page"
KEY = "käse/+?"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        fake_server(tmp_path_factory.mktemp("open")) as address,
        httpx.Client(base_url=address) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("guarded")
    keys = folder / "keys"
    keys.write_text(f"{KEY}\n", encoding="utf-8")
    with fake_server(folder, api_keys_file=keys) as address, httpx.Client(base_url=address) as client:
        yield client


def addresses(client: httpx.Client) -> list[str]:
    """What the document loads."""
    return re.findall(r'(?:src|href)="\./(assets/[^"]+)"', client.get("/").text)


def test_the_document_and_all_that_it_loads_come_with_a_strict_policy(client: httpx.Client) -> None:
    found = ["/", *addresses(client), "/sample.mp4"]
    assert len(found) >= 5
    for path in found:
        response = client.get(path)
        assert response.status_code == 200, path
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"


def test_assets_are_kept_for_ever_and_the_document_is_asked_for_each_time(client: httpx.Client) -> None:
    assert client.get("/").headers["cache-control"] == "no-cache"
    assert all("immutable" in client.get(path).headers["cache-control"] for path in addresses(client))


def test_nothing_inline_and_no_address_outside_the_server_is_in_the_built_files() -> None:
    text = "".join(path.read_text() for path in BUILT.rglob("*.*"))
    outside = set(re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.\w+[\w/.]*", text))
    assert outside <= {"http://www.w3.org/2000/svg"}
    document = (BUILT / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", document)


def test_the_sample_is_the_packaged_one_and_parts_of_it_can_be_had(client: httpx.Client) -> None:
    assert client.get("/sample.mp4").content == sample_video().read_bytes()
    part = client.get("/sample.mp4", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ("bytes=99999999-", 416, "range_not_satisfiable"),
        ("bytes=99999999-,0-3", 416, "range_not_satisfiable"),
        ("bytes=9-4", 400, "malformed_request"),
        ("bytes=", 400, "malformed_request"),
        ("bytes=a-b", 400, "malformed_request"),
        ("bytes=0-" + "9" * 5000, 400, "malformed_request"),
        ("lines=0-4", 400, "malformed_request"),
        ("-", 400, "malformed_request"),
    ],
)
def test_a_range_that_cannot_be_given_is_a_problem(
    client: httpx.Client, asked: str, status: int, code: str
) -> None:
    answer = client.get("/sample.mp4", headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    size = f"bytes */{sample_video().stat().st_size}" if status == 416 else None
    assert answer.headers.get("content-range") == size


def test_many_ranges_give_the_whole_file(client: httpx.Client) -> None:
    asked = "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 4000, 2))
    answer = client.get("/sample.mp4", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, sample_video().read_bytes())


@pytest.mark.parametrize("path", ["/assets/nothing.js", "/assets/..%2findex.html", "/page/index.html"])
def test_what_is_no_part_of_the_page_is_not_found(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_the_page_needs_no_key_and_all_else_does(guarded: httpx.Client) -> None:
    for path in ("/", *addresses(guarded), "/sample.mp4"):
        assert guarded.get(path).status_code == 200
    for path in ("/models", "/openapi.json", "/assets/other.js", "/assets/"):
        assert guarded.get(path).status_code == 401
    key = {"X-API-Key": KEY.encode()}
    assert guarded.get("/models", headers=key).status_code == 200


def protocols(key: str) -> list[Subprotocol]:
    text = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    return [Subprotocol("selsa"), Subprotocol(f"selsa-key.{text}")]


def test_a_socket_may_carry_its_key_as_a_browser_can(guarded: httpx.Client) -> None:
    address = f"ws://{guarded.base_url.host}:{guarded.base_url.port}/stream"
    with connect(address, subprotocols=protocols(KEY)) as socket:
        assert socket.subprotocol == "selsa"
        socket.send('{"type":"start","container":"jpeg"}')
        socket.send(cv2.imencode(".jpg", frame_pixels(0))[1].tobytes())
        assert json.loads(socket.recv(timeout=60))["type"] == "video"


@pytest.mark.parametrize("offered", [[], protocols("wrong"), protocols(""), ["selsa-key.*"], ["selsa"]])
def test_a_socket_with_another_key_or_none_is_refused(
    guarded: httpx.Client, offered: list[Subprotocol]
) -> None:
    address = f"ws://{guarded.base_url.host}:{guarded.base_url.port}/stream"
    with pytest.raises(InvalidStatus) as refused, connect(address, subprotocols=offered or None):
        pass
    assert refused.value.response.status_code == 403

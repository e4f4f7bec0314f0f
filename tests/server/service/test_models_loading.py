"""Models that are loaded, replaced and unloaded while the server works on requests."""

import gc
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bundle_folders import FakeLoader, solo, write_bundle
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from httpx import Response
from live_server import wait_until
from media import write_video

from selsa_server.api.app import build_app
from selsa_server.schema.detect import DetectParams, FrameRecord
from selsa_server.settings import ServerSettings

FRAMES = 12
SIZES = {"cats": (64, 48), "cars": (32, 32), "cups": (96, 64)}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", FRAMES, codec="mpeg4")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good bundles, one whose engines cannot be loaded and one whose engines fail."""
    root = tmp_path_factory.mktemp("bundles")
    for name, size in SIZES.items():
        write_bundle(root / name, name.removesuffix("s"), size=size)
    write_bundle(root / "broken", "cat")
    write_bundle(root / "bad", "cat")
    return root


@contextmanager
def serving(settings: ServerSettings, load: FakeLoader, **changes: Any) -> Iterator[TestClient]:
    app = build_app(
        fake_pipeline(FakeEngines()), settings.model_copy(update=changes), load=load, fork_server=FORK_SERVER
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


@pytest.fixture
def load() -> FakeLoader:
    return FakeLoader()


@pytest.fixture
def client(settings: ServerSettings, bundles: Path, load: FakeLoader) -> Iterator[TestClient]:
    with serving(settings, load, bundle_dir=bundles) as client:
        yield client


def put(client: TestClient, name: str, path: str) -> Response:
    return client.put(f"/v1/models/{name}", json={"path": path})


def status(client: TestClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/models/{name}").json()
    return found


def loaded(client: TestClient, name: str, path: str) -> None:
    response = put(client, name, path)
    assert (response.status_code, response.json()["name"]) == (202, name), response.text
    wait_until(lambda: settled(client, name))
    assert status(client, name)["error"] is None


def settled(client: TestClient, name: str) -> bool:
    now = status(client, name)
    return now["state"] != "loading" and not now["replacing"]


def code(response: Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


def detect(client: TestClient, video: Path, model: str | None = None) -> Response:
    params = {} if model is None else {"model": model}
    return client.post("/detect", content=video.read_bytes(), params=params)


def class_of(response: Response) -> str:
    found: str = response.json()["video"]["model"]["classes"][0]
    return found


def metric(client: TestClient, start: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))


def test_a_loaded_bundle_serves_requests(client: TestClient, video: Path) -> None:
    assert code(detect(client, video, "small")) == (422, "invalid_parameter")
    loaded(client, "small", "cats")
    now = status(client, "small")
    assert (now["state"], now["default"], now["classes"], now["requests"]) == ("ready", False, 1, 0)
    assert now["bundle"].startswith("sha256:") and now["provider"] == "fake"
    assert [each["name"] for each in client.get("/v1/models").json()] == ["fake", "small"]
    assert class_of(detect(client, video, "small")) == "cat"
    assert class_of(detect(client, video)) == "dog"
    assert metric(client, 'selsa_models{state="ready"}') == 2
    assert [each["served_as"] for each in client.get("/models").json()] == ["fake", "small"]


def test_the_server_stays_ready_and_works_while_another_model_loads(
    client: TestClient, video: Path, load: FakeLoader
) -> None:
    load.gate.clear()
    assert put(client, "small", "cats").status_code == 202
    assert status(client, "small")["state"] == "loading"
    assert client.get("/readyz").status_code == 200
    assert detect(client, video).status_code == 200
    assert code(detect(client, video, "small")) == (422, "invalid_parameter")
    assert code(put(client, "small", "cars")) == (409, "model_loading")
    assert code(client.delete("/v1/models/small")) == (409, "model_loading")
    assert metric(client, 'selsa_models{state="loading"}') == 1
    load.gate.set()
    wait_until(lambda: status(client, "small")["state"] == "ready")


@pytest.mark.parametrize("path", ["broken", "bad"])
def test_engines_that_cannot_run_never_serve_and_the_status_says_why(
    client: TestClient, video: Path, bundles: Path, load: FakeLoader, path: str
) -> None:
    assert put(client, "small", path).status_code == 202
    wait_until(lambda: status(client, "small")["state"] == "failed")
    error = status(client, "small")["error"]
    assert error["code"] == "engine_failed" and str(bundles) not in error["detail"]
    assert code(detect(client, video, "small")) == (422, "invalid_parameter")
    assert detect(client, video).status_code == 200
    assert load.closed == ([] if path == "broken" else [1])
    assert client.delete("/v1/models/small").status_code == 204
    assert code(client.get("/v1/models/small")) == (404, "model_not_found")


def test_a_failed_replacement_keeps_the_old_model(client: TestClient, video: Path) -> None:
    loaded(client, "small", "cats")
    put(client, "small", "bad")
    wait_until(lambda: settled(client, "small"))
    now = status(client, "small")
    assert (now["state"], now["error"]["code"]) == ("ready", "engine_failed")
    assert class_of(detect(client, video, "small")) == "cat"
    loaded(client, "small", "cars")
    assert class_of(detect(client, video, "small")) == "car"


def test_a_running_request_finishes_on_its_bundle(
    settings: ServerSettings, bundles: Path, video: Path
) -> None:
    load = FakeLoader(seconds_per_frame=0.04)
    with serving(settings, load, bundle_dir=bundles) as client, ThreadPoolExecutor() as pool:
        loaded(client, "small", "cats")
        inside = pool.submit(detect, client, video, "small")
        wait_until(lambda: status(client, "small")["requests"] == 1)
        loaded(client, "small", "cars")
        assert not inside.done()
        assert class_of(detect(client, video, "small")) == "car"
        assert class_of(inside.result()) == "cat"
        assert inside.result().json()["summary"]["emitted"] == FRAMES
        wait_until(lambda: load.closed == [1, 0])


def test_an_unloaded_model_gets_no_new_work_and_is_closed_after_its_last_request(
    settings: ServerSettings, bundles: Path, video: Path
) -> None:
    load = FakeLoader(seconds_per_frame=0.04)
    with serving(settings, load, bundle_dir=bundles) as client, ThreadPoolExecutor() as pool:
        loaded(client, "small", "cats")
        inside = pool.submit(detect, client, video, "small")
        wait_until(lambda: status(client, "small")["requests"] == 1)
        assert client.delete("/v1/models/small").status_code == 204
        now = status(client, "small")
        assert (now["state"], now["requests"]) == ("unloading", 1)
        assert code(detect(client, video, "small")) == (422, "invalid_parameter")
        assert load.closed == [0]
        assert inside.result().json()["summary"]["emitted"] == FRAMES
        wait_until(lambda: client.get("/v1/models/small").status_code == 404)
        assert load.closed == [1]
        gc.collect()
        assert load.alive == 0
        assert metric(client, "selsa_bundle{") == metric(client, 'selsa_models{state="ready"}') == 1


def test_the_default_is_unloaded_only_after_another_one_became_the_default(
    client: TestClient, video: Path
) -> None:
    assert code(client.delete("/v1/models/fake")) == (409, "model_is_default")
    assert code(client.put("/v1/models/small/default")) == (404, "model_not_found")
    loaded(client, "small", "cats")
    assert client.put("/v1/models/small/default").json()["default"] is True
    assert [each["name"] for each in client.get("/v1/models").json()] == ["small", "fake"]
    assert client.delete("/v1/models/fake").status_code == 204
    assert class_of(detect(client, video)) == "cat"
    assert client.get("/model").json()["served_as"] == "small"
    assert code(client.delete("/v1/models/small")) == (409, "model_is_default")


def test_the_number_of_models_is_bounded(settings: ServerSettings, bundles: Path, load: FakeLoader) -> None:
    with serving(settings, load, bundle_dir=bundles, max_models=2) as client:
        loaded(client, "small", "cats")
        assert code(put(client, "large", "cars")) == (507, "models_full")
        loaded(client, "small", "cars")


def test_a_shutdown_during_a_load_leaves_no_engine_open(
    settings: ServerSettings, bundles: Path, load: FakeLoader
) -> None:
    with serving(settings, load, bundle_dir=bundles) as client:
        loaded(client, "small", "cats")
        load.gate.clear()
        put(client, "large", "cars")
        threading.Timer(0.2, load.gate.set).start()
    assert load.closed == [1, 1]


def frames_of(folder: Path, video: Path) -> list[dict[str, Any]]:
    records = solo(folder).run(video, DetectParams())
    return [record.model_dump(mode="json") for record in records if isinstance(record, FrameRecord)]


def test_under_load_every_response_is_from_the_named_model(
    settings: ServerSettings, bundles: Path, video: Path
) -> None:
    """Names are loaded, swapped and unloaded at random while eight clients ask for them."""
    load = FakeLoader(seconds_per_frame=0.0005)
    alone = {name.removesuffix("s"): frames_of(bundles / name, video) for name in SIZES}
    assert len({str(frames) for frames in alone.values()}) == len(SIZES)
    answered: list[str] = []

    def ask(client: TestClient, number: int) -> None:
        choice = random.Random(number)
        for _ in range(12):
            response = detect(client, video, choice.choice(["a", "b"]))
            if response.status_code == 422:
                assert code(response) == (422, "invalid_parameter")  # not there just then
                continue
            assert response.status_code == 200, response.text
            answer = response.json()
            kind = answer["video"]["model"]["classes"][0]
            assert answer["frames"] == alone[kind]
            assert (answer["summary"]["complete"], answer["summary"]["emitted"]) == (True, FRAMES)
            answered.append(kind)

    def change(client: TestClient, done: threading.Event) -> None:
        choice = random.Random(9)
        while not done.is_set():
            name = choice.choice(["a", "b"])
            if choice.random() < 0.3:
                response = client.delete(f"/v1/models/{name}")
            else:
                response = put(client, name, choice.choice(list(SIZES)))
            assert response.status_code in (202, 204, 404, 409), response.text
            time.sleep(0.02)

    with serving(settings, load, bundle_dir=bundles) as client, ThreadPoolExecutor() as pool:
        loaded(client, "a", "cats")
        loaded(client, "b", "cars")
        done = threading.Event()
        changing = pool.submit(change, client, done)
        asking = [pool.submit(ask, client, number) for number in range(8)]
        for each in asking:
            each.result(60)
        done.set()
        changing.result(60)
        wait_until(lambda: metric(client, 'selsa_models{state="loading"}') == 0)
        wait_until(lambda: metric(client, 'selsa_models{state="unloading"}') == 0)
        open_now = int(metric(client, 'selsa_models{state="ready"}')) - 1
        assert (load.closed.count(0), load.closed.count(1)) == (open_now, len(load.closed) - open_now)
        gc.collect()
        assert load.alive == open_now
    assert len(load.closed) > 6 and set(answered) == set(alone)
    assert load.closed == [1] * len(load.closed)


@pytest.fixture
def hostile(bundles: Path, tmp_path: Path) -> Path:
    """A bundle folder with things in it that lead out, or that never end."""
    root = tmp_path / "hostile"
    root.mkdir()
    outside = tmp_path / "outside"
    write_bundle(outside, "cat")
    (root / "link").symlink_to(outside)
    (root / "up").symlink_to("..")
    (root / "loop").symlink_to("loop")
    (root / "file").write_text("{}")
    (root / "empty").mkdir()
    write_bundle(root / "leaky", "cat")
    (root / "leaky" / "frame.onnx").unlink()
    (root / "leaky" / "frame.onnx").symlink_to(outside / "frame.onnx")
    write_bundle(root / "pipe", "cat")
    (root / "pipe" / "manifest.json").unlink()
    os.mkfifo(root / "pipe" / "manifest.json")
    write_bundle(root / "changed", "cat")
    (root / "changed" / "frame.onnx").write_bytes(b"other.onnx")
    write_bundle(root / "garbled", "cat")
    (root / "garbled" / "manifest.json").write_bytes(b"\xff{")
    write_bundle(root / "deep" / "good", "cat")
    return root


def test_no_path_leads_out_of_the_folder(
    settings: ServerSettings, hostile: Path, load: FakeLoader, video: Path
) -> None:
    outside = str(hostile.parent / "outside")
    names = [outside, "../outside", "deep/../../outside", "up/outside", "..", ".", "", "/", "deep\\good"]
    names += ["link", "loop", "file", "leaky", "pipe", "nothing", "a\0b", "deep//good", "deep/good/"]
    names += ["x" * 65, "a/" * 5 + "a", ".hidden", "~root", "C:/x", "%2e%2e/outside", "é"]
    with serving(settings, load, bundle_dir=hostile) as client:
        for name in names:
            response = put(client, "x", name)
            assert code(response) in [(422, "invalid_parameter"), (400, "malformed_request")], name
            assert str(hostile.parent) not in response.json()["detail"].replace(repr(name[:100]), "")
        for name in ("empty", "changed", "garbled"):
            response = put(client, "x", name)
            assert code(response) == (422, "invalid_bundle"), name
            assert str(hostile.parent) not in response.text and name in response.json()["detail"]
        assert [each["name"] for each in client.get("/v1/models").json()] == ["fake"]
        assert load.closed == []
        loaded(client, "x", "deep/good")


@pytest.mark.parametrize("name", ["..", ".x", "x" * 65, "a%2Fb", "a b", "%00", "é", "-x"])
def test_names_are_plain(client: TestClient, name: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert client.request(method, f"/v1/models/{name}").status_code in (404, 405, 422)
    assert len(client.get("/v1/models").json()) == 1


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", (400, "empty_body")),
        (b"{", (400, "malformed_request")),
        (b"[]", (400, "malformed_request")),
        (b"{}", (400, "malformed_request")),
        (b'{"path": 1}', (400, "malformed_request")),
        (b'{"path": "cats", "more": 1}', (400, "malformed_request")),
        (b'{"path": "' + b"x" * 300 + b'"}', (400, "malformed_request")),
        (b"[" * 4096, (400, "malformed_request")),
        (b" " * 5_000_000, (413, "body_too_large")),
    ],
)
def test_a_body_that_is_wrong_is_refused(client: TestClient, body: bytes, found: tuple[int, str]) -> None:
    headers = {"Content-Type": "application/json"}
    assert code(client.put("/v1/models/x", content=body, headers=headers)) == found
    assert code(client.put("/v1/models/x", content=body)) == (415, "unsupported_media_type")


def test_without_a_folder_models_are_fixed(settings: ServerSettings, load: FakeLoader) -> None:
    with serving(settings, load) as client:
        assert code(put(client, "x", "cats")) == (403, "models_fixed")
        assert code(client.delete("/v1/models/fake")) == (403, "models_fixed")
        assert code(client.put("/v1/models/fake/default")) == (403, "models_fixed")
        assert client.get("/v1/models").json()[0]["state"] == "ready"


def test_without_a_key_no_model_is_shown_or_changed(
    settings: ServerSettings, bundles: Path, load: FakeLoader, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    with serving(settings, load, bundle_dir=bundles, api_keys_file=keys) as client:
        for method, target in (
            ("GET", ""),
            ("GET", "/fake"),
            ("PUT", "/x"),
            ("PUT", "/fake/default"),
            ("DELETE", "/fake"),
        ):
            assert code(client.request(method, f"/v1/models{target}")) == (401, "unauthorized")
        client.headers["X-API-Key"] = "secret"
        loaded(client, "x", "cats")

"""Jobs and live streams by model: each keeps the one it was given, and accounts for its frames."""

import errno
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest
from bundle_folders import FakeLoader, write_bundle
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_bundle, fake_pipeline
from fastapi.testclient import TestClient
from live_server import wait_until
from media import frame_pixels, write_video

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.api.app import build_app
from selsa_server.jobs.database import JobsDatabaseError, open_sqlite
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.settings import ServerSettings

FRAMES = 40
SLOW = 0.02


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, FRAMES, codec="mpeg4").read_bytes()


def other_model(engines: FakeEngines, name: str, digest: str = "1") -> DetectionPipeline:
    bundle = fake_bundle(engines)
    manifest = bundle.manifest.model_copy(update={"classes": (name,)})
    other = LoadedBundle(manifest=manifest, digest="sha256:" + digest * 64, engines=engines)
    return DetectionPipeline(other, PipelineOptions(model=name))


@contextmanager
def running(
    settings: ServerSettings, *models: str, slow: float = 0.0, digest: str = "1", **changes: Any
) -> Iterator[TestClient]:
    """The default model `fake`, and others, whose only class is their name."""
    others = {name: other_model(FakeEngines(seconds_per_frame=slow), name, digest) for name in models}
    pipeline = fake_pipeline(FakeEngines(seconds_per_frame=slow))
    app = build_app(
        pipeline,
        settings.model_copy(update=changes),
        others=others,
        load=FakeLoader(),
        fork_server=FORK_SERVER,
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def submit(client: TestClient, video: bytes, **params: Any) -> str:
    response = client.post("/v1/jobs", content=video, params=params)
    assert response.status_code == 202, response.text
    location: str = response.headers["location"]
    return location


def ended(client: TestClient, job: str) -> dict[str, Any]:
    wait_until(lambda: client.get(job).json()["ended"] is not None)
    view: dict[str, Any] = client.get(job).json()
    return view


def records(client: TestClient, job: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get(f"{job}/results").text.splitlines()]


def has_started(client: TestClient, job: str) -> bool:
    done: int = client.get(job).json()["progress"]["done"]
    return 0 < done < FRAMES


def counted(client: TestClient, kind: str, outcome: str) -> float:
    name = re.escape(f'selsa_frames_total{{kind="{kind}",outcome="{outcome}"}}')
    found = re.search(rf"^{name} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_a_job_runs_on_the_model_it_names_and_shows_it(settings: ServerSettings, video: bytes) -> None:
    with running(settings, "small") as client:
        for params, name in (({}, "fake"), ({"model": "small"}, "small")):
            job = submit(client, video, **params)
            view = ended(client, job)
            assert (view["state"], view["model"]) == ("done", name)
            first, *frames, _ = records(client, job)
            assert first["model"]["bundle"] == view["bundle"]
            assert frames == client.post("/detect", content=video, params=params).json()["frames"]
        refused = client.post("/v1/jobs", content=video, params={"model": "large"})
        assert (refused.status_code, refused.json()["parameter"]) == (422, "model")
        assert client.post("/v1/jobs", content=video, params={"model": "small"}).status_code == 200


def test_an_idempotency_key_belongs_to_one_model(settings: ServerSettings, video: bytes) -> None:
    with running(settings, "small") as client:
        headers = {"Idempotency-Key": "mine"}
        first = client.post("/v1/jobs", content=video, headers=headers)
        other = client.post("/v1/jobs", content=video, headers=headers, params={"model": "small"})
        assert (first.status_code, other.status_code) == (202, 422)
        assert other.json()["code"] == "idempotency_key_reused"


def test_after_a_restart_a_job_continues_with_its_model(settings: ServerSettings, video: bytes) -> None:
    with running(settings, "small", slow=SLOW) as client:
        job = submit(client, video, model="small")
        wait_until(lambda: has_started(client, job))
    with running(settings, "small") as client:
        assert ended(client, job)["state"] == "done"
        first, *frames, _ = records(client, job)
        assert first["model"]["classes"] == ["small"]
        assert [frame["index"] for frame in frames] == list(range(FRAMES))
        wait_until(lambda: counted(client, "job", "emitted") > 0)
        assert counted(client, "job", "emitted") < FRAMES, "what was done is not done again"


def test_with_another_bundle_under_the_name_a_job_restarts(settings: ServerSettings, video: bytes) -> None:
    with running(settings, "small", slow=SLOW) as client:
        job = submit(client, video, model="small")
        wait_until(lambda: has_started(client, job))
    with running(settings, "small", digest="2") as client:
        view = ended(client, job)
        assert (view["state"], view["bundle"]) == ("done", "sha256:" + "2" * 64)
        first, *frames, _ = records(client, job)
        assert (first["model"]["bundle"], len(frames)) == (view["bundle"], FRAMES)
        wait_until(lambda: counted(client, "job", "emitted") == FRAMES)


def test_a_job_whose_model_is_gone_fails_with_model_gone(settings: ServerSettings, video: bytes) -> None:
    with running(settings, "small", slow=SLOW) as client:
        job = submit(client, video, model="small")
        wait_until(lambda: has_started(client, job))
    with running(settings) as client:
        view = ended(client, job)
        assert (view["state"], view["error"]["code"]) == ("failed", "model_gone")
        assert "small" in view["error"]["detail"]
        *before, last = records(client, job)
        assert (last["type"], last["code"], last["emitted"]) == ("error", "model_gone", len(before) - 1)
        assert ended(client, submit(client, video))["state"] == "done"


def test_a_running_job_keeps_its_model_and_a_waiting_one_does_not(
    settings: ServerSettings, video: bytes, tmp_path: Path
) -> None:
    with running(settings, "small", slow=SLOW, bundle_dir=tmp_path) as client:
        first, second = submit(client, video, model="small"), submit(client, video, model="small", stride=2)
        wait_until(lambda: has_started(client, first))
        assert client.delete("/v1/models/small").status_code == 204
        assert client.get("/v1/models/small").json()["state"] == "unloading"
        assert ended(client, first)["state"] == "done"
        assert ended(client, second)["error"]["code"] == "model_gone"
        wait_until(lambda: client.get("/v1/models/small").status_code == 404)


def test_a_job_keeps_its_model_when_another_becomes_the_default(
    settings: ServerSettings, video: bytes, tmp_path: Path
) -> None:
    with running(settings, "small", slow=SLOW, bundle_dir=tmp_path) as client:
        blocker, job = submit(client, video, stride=2), submit(client, video)
        client.put("/v1/models/small/default")
        assert ended(client, blocker)["model"] == ended(client, job)["model"] == "fake"
        assert records(client, job)[0]["model"]["classes"] == ["dog", "fox"]


# As version 1 made it.
OLD_TABLE = """
CREATE TABLE job (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, reuse_key TEXT UNIQUE,
    fingerprint TEXT NOT NULL, params TEXT NOT NULL, bundle TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued', version INTEGER NOT NULL DEFAULT 1,
    bytes INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0, total INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL,
    started_done INTEGER NOT NULL DEFAULT 0, ended REAL, problem TEXT);
CREATE INDEX job_state ON job (state, number);
PRAGMA user_version = 1;
"""


def test_jobs_of_an_older_server_run_on_the_default_or_named_model(
    settings: ServerSettings, video: bytes
) -> None:
    assert settings.jobs_dir is not None
    settings.jobs_dir.mkdir()
    old = sqlite3.connect(settings.jobs_dir / "jobs.sqlite3")
    old.executescript(OLD_TABLE)
    ids = {"x" * 24: "{}", "y" * 24: '{"model":"small"}', "z" * 24: '{"model":null}'}
    for job_id, params in ids.items():
        old.execute(
            "INSERT INTO job (id, fingerprint, params, bundle, bytes, created) VALUES (?, '', ?, '', 1, 1)",
            (job_id, params),
        )
        (settings.jobs_dir / f"{job_id}.video").write_bytes(video)
    old.commit()
    old.close()
    with running(settings, "small") as client:
        for job_id, name in zip(ids, (None, "small", None), strict=True):
            view = ended(client, f"/v1/jobs/{job_id}")
            assert (view["state"], view["model"]) == ("done", name)
            assert records(client, f"/v1/jobs/{job_id}")[0]["model"]["name"] == "fake"
        assert ended(client, submit(client, video, stride=3))["model"] == "fake"


def test_a_newer_servers_jobs_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    open_sqlite(path).dispose()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(JobsDatabaseError, match="version 99"):
        open_sqlite(path)


class HeldEngines(FakeEngines):
    """Engines that stand still while they are held."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.entered = 0

    def run_frames(self, frames: Any, image_size: Any) -> Any:
        self.entered += 1
        self.go.wait(300)
        return super().run_frames(frames, image_size)


def busy_server(engines: HeldEngines, settings: ServerSettings) -> TestClient:
    """A server whose engines make one call at a time, so that a second call waits."""
    one_call = settings.model_copy(update={"engine_calls": 1})
    return TestClient(build_app(fake_pipeline(engines), one_call, fork_server=FORK_SERVER))


def test_a_cancelled_job_leaves_the_queue_of_a_busy_engine(settings: ServerSettings, video: bytes) -> None:
    engines = HeldEngines()
    assert settings.jobs_dir is not None
    with busy_server(engines, settings) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        engines.go.clear()
        entered = engines.entered
        busy = threading.Thread(target=lambda: client.post("/detect?stride=20", content=video))
        busy.start()
        wait_until(lambda: engines.entered > entered)
        job = submit(client, video)
        path = settings.jobs_dir / f"{job.rsplit('/')[-1]}.video"
        wait_until(lambda: client.get(job).json()["state"] == "running")
        time.sleep(0.2)  # decoded a frame, and in the queue
        assert client.delete(job).status_code == 204
        wait_until(lambda: not path.exists())
        wait_until(lambda: counted(client, "job", "saved") == FRAMES)
        assert engines.entered == entered + 1
        engines.go.set()
        busy.join()


def test_a_disconnected_stream_leaves_the_queue_of_a_busy_engine(
    settings: ServerSettings, video: bytes
) -> None:
    engines = HeldEngines()
    with busy_server(engines, settings) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        engines.go.clear()
        entered = engines.entered
        busy = threading.Thread(target=lambda: client.post("/detect?stride=20", content=video))
        busy.start()
        wait_until(lambda: engines.entered > entered)
        with client.websocket_connect("/stream") as socket:
            socket.send_text(start())
            for number in range(4):
                socket.send_bytes(jpeg(number))
            assert socket.receive_json()["type"] == "video"
            time.sleep(0.1)  # decoded a frame, and in the queue
        wait_until(lambda: client.get("/v1/models/fake").json()["requests"] == 1)
        wait_until(lambda: counted(client, "stream", "saved") > 0)
        assert engines.entered == entered + 1
        engines.go.set()
        busy.join()


def test_frames_of_jobs_are_counted_including_saved_ones(settings: ServerSettings, video: bytes) -> None:
    with running(settings, slow=SLOW) as client:
        ended(client, submit(client, video, stride=4))
        wait_until(lambda: counted(client, "job", "emitted") == FRAMES / 4)
        job = submit(client, video)
        wait_until(lambda: has_started(client, job))
        client.delete(job)
        wait_until(lambda: counted(client, "job", "saved") > 0)
        assert counted(client, "job", "emitted") + counted(client, "job", "saved") == FRAMES / 4 + FRAMES
        assert counted(client, "detect", "emitted") == 0


def jpeg(number: int) -> bytes:
    return bytes(cv2.imencode(".jpg", frame_pixels(number))[1])


def start(**options: Any) -> str:
    return json.dumps({"type": "start", "container": "jpeg", **options})


def test_a_stream_uses_the_model_of_its_start_message(settings: ServerSettings, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundles" / "cups", "cup")
    with running(settings, "small", bundle_dir=tmp_path / "bundles") as client:
        for options, found in (({}, "dog"), ({"model": "fake"}, "dog"), ({"model": "small"}, "small")):
            with client.websocket_connect("/stream") as socket:
                socket.send_text(start(**options))
                socket.send_bytes(jpeg(0))
                assert socket.receive_json()["model"]["classes"][0] == found
        with client.websocket_connect("/stream") as socket:
            socket.send_text(start(model="large"))
            error = socket.receive_json()
            assert (error["type"], error["code"]) == ("error", "invalid_parameter")
            assert "fake, small" in error["detail"]
        with client.websocket_connect("/stream") as socket:
            socket.send_text(start(model="small"))
            socket.send_bytes(jpeg(0))
            assert [socket.receive_json()["type"] for _ in range(2)] == ["video", "frame"]
            client.put("/v1/models/small", json={"path": "cups"})
            wait_until(lambda: not client.get("/v1/models/small").json()["replacing"])
            socket.send_bytes(jpeg(1))
            assert socket.receive_json()["detections"][0]["class_name"] == "small"
            assert client.get("/v1/models/small").json()["requests"] == 1
        wait_until(lambda: client.get("/v1/models/small").json()["requests"] == 0)


def test_frames_of_streams_are_counted_including_saved_ones(settings: ServerSettings) -> None:
    with running(settings, slow=0.05) as client:
        with client.websocket_connect("/stream") as socket:
            socket.send_text(start())
            for number in range(8):
                socket.send_bytes(jpeg(number))
            assert [socket.receive_json()["type"] for _ in range(2)] == ["video", "frame"]
        wait_until(lambda: counted(client, "stream", "saved") > 0)
        assert 1 <= counted(client, "stream", "emitted") < 8 - counted(client, "stream", "saved") + 1
        assert counted(client, "detect", "emitted") == counted(client, "job", "emitted") == 0


def test_a_database_without_room_raises_what_a_file_without_room_raises(tmp_path: Path) -> None:
    engine = open_sqlite(tmp_path / "jobs.sqlite")
    with engine.begin() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match="the database of jobs") as raised, engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE large AS SELECT zeroblob(1000000)")
    assert raised.value.errno == errno.ENOSPC
    engine.dispose()

"""Tracks over HTTP: the same from any number of clients; an alias reaches documents and finished jobs."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from media import write_video

from selsa_bundle.engine import DetectionBatch, FrameBatch, Int, ReferenceBank
from selsa_server.api.aliases import renaming
from selsa_server.api.app import build_app
from selsa_server.settings import ServerSettings

FRAMES = 360
AWAY = range(10, 340)


class OneLeaves(FakeEngines):
    """Two objects that look different; the second one is there only in the darkest frames."""

    def run_frames(self, frames: np.ndarray, image_size: Int) -> FrameBatch:
        batch = super().run_frames(frames, image_size)
        queries = np.tile(np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.float32), (len(frames), 1, 1))
        # The third number tells the sequence engine whether the second object is there.
        queries[:, :, 2] = 1e-6 * (frames.mean((1, 2, 3)) < 30)[:, None]
        return batch.replaced(queries=queries, valid=np.ones_like(batch.valid))

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: np.ndarray, bank: ReferenceBank
    ) -> DetectionBatch:
        found = super().run_sequence(batch, image_size, scale_factor, bank)
        boxes, scores = found.boxes.copy(), found.scores.copy()
        boxes[:, :2] = [[0, 0, 20, 20], [40, 20, 60, 40]]
        scores[:, :2] = 0.99
        return DetectionBatch(
            boxes=boxes,
            scores=scores,
            labels=found.labels,
            count=1 + (batch.queries[:, 0, 2] > 0).astype(np.int64),
            proposals=np.tile(np.array([0, 1, 0]), (len(boxes), 1)),
        )


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    def picture(index: int) -> np.ndarray:
        return np.full((48, 64, 3), 40 if index in AWAY else 20, np.uint8)

    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, FRAMES, picture=picture).read_bytes()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = ServerSettings(spool_dir=tmp_path_factory.mktemp("spool"))
    pipeline = fake_pipeline(OneLeaves(), batch=3)
    with TestClient(build_app(pipeline, settings, fork_server=FORK_SERVER)) as client:
        yield client


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def numbers(frames: list[dict[str, Any]]) -> set[int]:
    return {found["track_id"] for frame in frames for found in frame["detections"]}


def test_an_alias_is_in_the_summary_of_a_stream_and_applied_to_a_document_and_a_finished_job(
    client: TestClient, video: bytes
) -> None:
    asked = {"tracks": "true"}
    stream = records(client.post("/detect", content=video, params=asked, headers=NDJSON).text)
    assert stream[-1]["aliases"] == {"3": 2}
    assert numbers(stream[1:-1]) == {1, 2, 3}
    assert [(each["track_id"], each["frames"]) for each in stream[-1]["objects"]] == [(1, 360), (2, 30)]

    document = client.post("/detect", content=video, params=asked).json()
    assert numbers(document["frames"]) == {1, 2}
    assert [frame["index"] for frame in document["frames"]] == list(range(FRAMES))
    assert document["summary"]["aliases"] == {"3": 2}

    job = client.post("/v1/jobs", content=video, params=asked).headers["location"]
    deadline = time.monotonic() + 60
    while client.get(job).json()["state"] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for query in ("", "?follow=true"):
        found = records(client.get(f"{job}/results{query}").text)
        assert found[1:-1] == document["frames"]
    assert records(client.get(f"{job}/results?after=350").text)[:-1] == document["frames"][349:]


NDJSON = {"Accept": "application/x-ndjson"}


@pytest.mark.parametrize("clients", [2, 8])
def test_any_number_of_clients_at_once_get_the_same_numbers(
    client: TestClient, tmp_path: Path, clients: int
) -> None:
    paths = [
        write_video(
            tmp_path / f"{i}.mp4", 20, picture=lambda n, i=i: np.full((48, 64, 3), 15 + i + n % 2, np.uint8)
        )
        for i in range(clients)
    ]
    videos = [path.read_bytes() for path in paths]

    def ask(content: bytes) -> list[dict[str, Any]]:
        answer = client.post("/detect", content=content, params={"tracks": "true", "mode": "online"})
        assert answer.status_code == 200, answer.text
        frames: list[dict[str, Any]] = answer.json()["frames"]
        return frames

    alone = [ask(content) for content in videos]
    with ThreadPoolExecutor(clients) as threads:
        assert list(threads.map(ask, videos)) == alone
    assert numbers(alone[0]) == {1, 2}


def test_without_tracks_an_answer_has_no_numbers(client: TestClient, video: bytes) -> None:
    assert "track" not in client.post("/detect", content=video, params={"stride": 20}).text
    refused = client.post("/detect", content=video, params={"tracks": "perhaps"})
    assert (refused.status_code, refused.json()["parameter"]) == (422, "tracks")


def test_renaming_changes_only_whole_numbers_of_the_field() -> None:
    rename = renaming({3: 2})
    text = b'{"class_name":"\\"track_id\\":3","track_id":3},{"track_id":33},{"track_id":null}'
    wanted = text.replace(b',"track_id":3}', b',"track_id":2}')
    assert rename(text) == wanted
    assert rename(wanted) == wanted

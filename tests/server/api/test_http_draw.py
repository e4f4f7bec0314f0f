"""`POST /draw`: records that a client has, drawn on their video; every other input is a problem."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from httpx import Response
from media import number_of, write_video

from selsa_server.api.app import build_app
from selsa_server.settings import ServerSettings

NDJSON = {"Accept": "application/x-ndjson"}
MIXED = {"Accept": "multipart/mixed"}
SIZE = (320, 240)


@pytest.fixture
def source(tmp_path: Path) -> bytes:
    return write_video(tmp_path / "source.mp4", 12, size=SIZE).read_bytes()


@pytest.fixture
def roomy_client(settings: ServerSettings) -> Iterator[TestClient]:
    """A server that takes more than the largest record."""
    roomy = settings.model_copy(update={"max_upload_bytes": 10_000_000})
    with TestClient(build_app(fake_pipeline(FakeEngines()), roomy, fork_server=FORK_SERVER)) as client:
        yield client


def frame(index: int, *boxes: tuple[int, int, int, int]) -> str:
    names = ("x1", "y1", "x2", "y2")
    detections = [
        {"box": dict(zip(names, box, strict=True)), "score": 0.9, "class_id": 0, "class_name": "dog"}
        for box in boxes
    ]
    record = {"type": "frame", "index": index, "pts": None, "time": None, "detections": detections}
    return json.dumps(record)


def draw(client: TestClient, records: str | bytes, video: bytes, **headers: str) -> Response:
    parts = [("records", ("r.ndjson", records)), ("file", ("v.mp4", video))]
    response: Response = client.post("/draw", files=parts, headers=headers)
    return response


def pictures(content: bytes, folder: Path) -> list[Any]:
    path = folder / "drawn.mp4"
    path.write_bytes(content)
    with av.open(str(path)) as container:
        return [each.to_ndarray(format="rgb24") for each in container.decode(video=0)]


def test_the_drawn_video_is_that_of_detect_and_nothing_is_left_behind(
    client: TestClient, settings: ServerSettings, source: bytes
) -> None:
    query = {"score_threshold": 0}
    records = client.post("/detect", content=source, params=query, headers=NDJSON).content
    detected = client.post("/detect", content=source, params=query, headers={"Accept": "video/mp4"})
    drawn = draw(client, records, source)
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "video/mp4")
    assert drawn.content == detected.content
    assert list(settings.spool_dir.iterdir()) == []


def test_the_boxes_are_those_of_the_records(client: TestClient, source: bytes, tmp_path: Path) -> None:
    records = "\n".join(frame(i, (160, 120, 300, 220)) if i == 5 else frame(i) for i in range(12))
    drawn = pictures(draw(client, records, source).content, tmp_path)
    original = pictures(source, tmp_path)
    changed = [np.abs(a.astype(int) - b).max(2) > 60 for a, b in zip(drawn, original, strict=True)]
    assert [bool(each[125:, 160:].any()) for each in changed] == [i == 5 for i in range(12)]
    assert changed[5][170, 158:163].any() and not changed[5][:90, :150].any()


def test_frames_without_a_record_are_left_out(client: TestClient, source: bytes, tmp_path: Path) -> None:
    drawn = pictures(draw(client, "\n".join(map(frame, (0, 4, 8))), source).content, tmp_path)
    assert [number_of(each) for each in drawn] == [0, 4, 8]


def test_progress_comes_before_the_same_file(
    client: TestClient, source: bytes, settings: ServerSettings
) -> None:
    records = "\n".join(map(frame, range(12)))
    file = draw(client, records, source).content
    response = draw(client, records, source, **MIXED)
    assert response.headers["content-type"] == "multipart/mixed; boundary=selsa"
    start, lines, rest = response.content.split(b"--selsa\r\n", 2)
    assert start == b""
    progress = [json.loads(line) for line in lines.partition(b"\r\n\r\n")[2].strip().splitlines()]
    assert progress and all(each["type"] == "progress" and each["frames"] == 12 for each in progress)
    head, _, body = rest.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(file)}".encode() in head
    assert body == file + b"\r\n--selsa--\r\n"
    assert list(settings.spool_dir.iterdir()) == []


MANY = frame(0, *[(1, 1, 9, 9)] * 1001)


@pytest.mark.parametrize(
    ("records", "detail"),
    [
        ("", "The records have no frame"),
        ('{"type":"summary"}', "Line 1 of the records is not a record: summary"),
        ("no json", "Line 1 of the records is not a record"),
        (frame(3) + "\n" + frame(3), "Line 2 of the records has the index 3; allowed here is 4 to 11"),
        (frame(12), "has the index 12; allowed here is 0 to 11"),
        (frame(-1), "has the index -1"),
        (MANY, "Line 1 of the records has more than the 1000 detections allowed"),
        (" " * ((1 << 20) + 1), "Line 1 of the records is longer than"),
        (b"\xff\xfe", "Line 1 of the records is not a record"),
    ],
)
def test_records_that_are_wrong_are_refused_with_their_line(
    roomy_client: TestClient, source: bytes, records: str | bytes, detail: str
) -> None:
    response = draw(roomy_client, records, source)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_request")
    assert detail in response.json()["detail"]
    streamed = draw(roomy_client, records, source, **MIXED).content.splitlines()[-1]
    assert json.loads(streamed)["code"] == "malformed_request"


def test_a_body_that_is_no_form_of_two_parts_is_refused(client: TestClient, source: bytes) -> None:
    raw = client.post("/draw", content=source, headers={"Content-Type": "video/mp4"})
    assert (raw.status_code, raw.json()["code"]) == (415, "unsupported_media_type")
    for names in (["file"], ["records"], ["file", "records"], ["records", "file", "file"], ["records", "x"]):
        form = client.post("/draw", files=[(name, (name, frame(0).encode())) for name in names])
        assert (form.status_code, form.json()["code"]) == (400, "malformed_request"), names


def test_what_is_no_video_or_too_large_is_refused(client: TestClient) -> None:
    assert draw(client, frame(0), b"no video\n" * 100).json()["code"] == "not_a_video"
    large = draw(client, frame(0), bytes(400_000))
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")

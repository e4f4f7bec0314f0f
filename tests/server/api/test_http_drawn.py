"""`POST /detect` with `Accept: video/mp4`: the drawn video, or a problem; nothing is left behind."""

from pathlib import Path

import av
import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from media import damage_packet, number_of, write_video

from selsa_server.api.app import build_app
from selsa_server.settings import ServerSettings

MP4 = {"Accept": "video/mp4"}


def test_the_drawn_video_has_the_frames_of_the_source(
    client: TestClient, settings: ServerSettings, tmp_path: Path
) -> None:
    source = write_video(tmp_path / "a.mp4", 12)
    # A label would hide the number that a frame spells.
    query = {"score_threshold": 1}
    answer = client.post("/detect", content=source.read_bytes(), params=query, headers=MP4)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "engine" in answer.headers["server-timing"]
    drawn = tmp_path / "drawn.mp4"
    drawn.write_bytes(answer.content)
    with av.open(str(drawn)) as container:
        frames = list(container.decode(video=0))
    assert [number_of(frame.to_ndarray(format="rgb24")) for frame in frames] == list(range(12))
    assert list(settings.spool_dir.iterdir()) == []


def test_detections_are_drawn(client: TestClient, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", 3, size=(320, 240)).read_bytes()
    bare = client.post("/detect", content=source, params={"score_threshold": 1}, headers=MP4)
    full = client.post("/detect", content=source, params={"score_threshold": 0}, headers=MP4)
    pictures = []
    for answer in (bare, full):
        path = tmp_path / "drawn.mp4"
        path.write_bytes(answer.content)
        with av.open(str(path)) as container:
            pictures.append(next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int))
    # The fake engines' box is the whole frame, and of class 0, which is red.
    change = pictures[1] - pictures[0]
    assert change[120, 0, 0] > 40
    assert abs(change[200, 160]).max() < 30


@pytest.mark.parametrize(
    ("body", "query", "status", "code"),
    [
        ("text", {}, 415, "not_a_video"),
        ("damaged", {}, 422, "undecodable"),
        ("video", {"stride": "x"}, 422, "invalid_parameter"),
        ("video", {"start": "60"}, 422, "invalid_parameter"),
    ],
)
def test_errors_are_problems_as_in_the_other_formats(
    client: TestClient,
    settings: ServerSettings,
    tmp_path: Path,
    body: str,
    query: dict[str, str],
    status: int,
    code: str,
) -> None:
    source = write_video(tmp_path / "a.mkv", 12, codec="ffv1", options={"slicecrc": "1", "level": "3"})
    if body == "damaged":
        damage_packet(source, 7)
    content = b"no video at all" if body == "text" else source.read_bytes()
    answer = client.post("/detect", content=content, params=query, headers=MP4)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(settings.spool_dir.iterdir()) == []


def test_an_engine_that_fails_half_way_is_a_problem(settings: ServerSettings, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", 12)
    app = build_app(fake_pipeline(FakeEngines(fail_at=6)), settings, fork_server=FORK_SERVER)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/detect", content=source.read_bytes(), headers=MP4)
    assert (answer.status_code, answer.json()["code"]) == (500, "engine_failed")
    assert list(settings.spool_dir.iterdir()) == []


def test_a_drawn_video_over_the_limit_is_413_and_leaves_nothing(
    settings: ServerSettings, tmp_path: Path
) -> None:
    # More to look at than what it was encoded to before.
    source = write_video(tmp_path / "a.mp4", 12, size=(320, 240), options={"crf": "51"})
    small = settings.model_copy(update={"max_upload_bytes": source.stat().st_size})
    with TestClient(build_app(fake_pipeline(FakeEngines()), small, fork_server=FORK_SERVER)) as client:
        answer = client.post("/detect", content=source.read_bytes(), headers=MP4)
    assert (answer.status_code, answer.json()["code"]) == (413, "video_too_long")
    assert list(settings.spool_dir.iterdir()) == []


def test_a_refused_media_type_lists_the_others_and_video_is_documented(client: TestClient) -> None:
    answer = client.post("/detect", content=b"x", headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert "video/mp4" in answer.json()["allowed"]
    described = client.get("/openapi.json").json()["paths"]["/detect"]["post"]["responses"]["200"]
    assert "video/mp4" in described["content"]

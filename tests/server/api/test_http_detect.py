"""`POST /detect`: both forms of the answer say the same, every refusal is a problem that says what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, MAX_UPLOAD, fake_pipeline
from fastapi.testclient import TestClient
from media import audio_only, damage_packet, png, write_video

from selsa_server.api.app import build_app
from selsa_server.schema.detect import (
    DetectionDocument,
    FrameRecord,
    SummaryRecord,
    VideoRecord,
    parse_record,
)
from selsa_server.schema.problems import TITLES
from selsa_server.settings import ServerSettings

NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, 12, container_options={"movflags": "faststart"}).read_bytes()


def problem_of(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["code"], body["status"], body["title"]) == (code, status, TITLES[code][1])
    assert body["request_id"] == response.headers["x-request-id"]
    assert len(body["detail"].split()) > 5  # a sentence
    return body


def still_serves(client: TestClient, settings: ServerSettings, video: bytes) -> None:
    assert client.post("/detect", content=video).status_code == 200
    assert list(settings.spool_dir.iterdir()) == []


def test_json_and_ndjson_have_the_same_records(client: TestClient, video: bytes) -> None:
    document = DetectionDocument.model_validate_json(client.post("/detect", content=video).content)
    stream = client.post("/detect", content=video, headers=NDJSON)
    assert stream.headers["content-type"] == "application/x-ndjson"
    records = [parse_record(line) for line in stream.iter_lines()]
    first, *frames, last = records
    assert isinstance(first, VideoRecord)
    assert isinstance(last, SummaryRecord)
    assert (first, tuple(frames)) == (document.video, document.frames)
    assert last.complete
    assert [frame.index for frame in frames if isinstance(frame, FrameRecord)] == list(range(12))


@pytest.mark.parametrize("content_type", [None, "video/mp4", "video/x-matroska", "application/octet-stream"])
def test_the_body_may_be_the_video_itself(client: TestClient, video: bytes, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert client.post("/detect", content=video, headers=headers).status_code == 200


def test_the_video_may_be_the_one_part_of_a_form(
    client: TestClient, settings: ServerSettings, video: bytes
) -> None:
    form = client.post("/detect", files={"file": ("../../etc/passwd", video)})
    raw = client.post("/detect", content=video)
    assert form.json()["frames"] == raw.json()["frames"]
    still_serves(client, settings, video)


def test_parameters_are_taken_from_the_query(client: TestClient, video: bytes) -> None:
    query = {"stride": 3, "start": 0.1, "end": 0.4, "classes": ["dog", "fox"], "score_threshold": 0}
    document = client.post("/detect", content=video, params=query).json()
    assert [frame["index"] for frame in document["frames"]] == [3, 6, 9]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("mode", "fast", "sequence or online"),
        ("score_threshold", "1.5", "from 0 to 1"),
        ("score_threshold", "nan", "from 0 to 1"),
        ("stride", "0", "a whole number from 1"),
        ("stride", "two", "a whole number from 1"),
        ("classes", "unicorn", "dog, fox"),
        ("max_detections", "4", "1 to 3"),
        ("reference_frames", "65", "from 0 to 64"),
        ("start", "-1", "from 0"),
        ("end", "0", "greater than 0"),
        ("decode", "maybe", "strict or tolerant"),
    ],
)
def test_a_bad_parameter_is_named_with_its_value_and_the_allowed_values(
    client: TestClient, video: bytes, name: str, value: str, allowed: str
) -> None:
    body = problem_of(client.post("/detect", content=video, params={name: value}), 422, "invalid_parameter")
    assert body["parameter"] == name
    assert value in body["detail"]
    assert allowed in body["allowed"]


def test_a_misspelt_parameter_is_named_with_the_right_names(client: TestClient, video: bytes) -> None:
    response = client.post("/detect", content=video, params={"score_treshold": 0.5})
    body = problem_of(response, 422, "invalid_parameter")
    assert body["parameter"] == "score_treshold"
    assert "score_threshold" in body["allowed"]


def test_an_empty_range_of_time_is_refused(client: TestClient, video: bytes) -> None:
    response = client.post("/detect", content=video, params={"start": 3, "end": 2})
    assert "greater than start" in problem_of(response, 422, "invalid_parameter")["detail"]


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("text", 415, "not_a_video"),
        ("playlist", 415, "not_a_video"),
        ("sound", 415, "no_video_stream"),
        ("png", 415, "not_a_video"),
        ("jpg", 415, "not_a_video"),
        ("no frames", 422, "no_frames"),
        ("cut off", 422, "truncated"),
        ("no index", 422, "truncated"),
        ("damaged", 422, "undecodable"),
        ("too long", 413, "video_too_long"),
    ],
)
def test_a_bad_file_has_its_status_and_the_server_continues(
    client: TestClient,
    settings: ServerSettings,
    video: bytes,
    tmp_path: Path,
    name: str,
    status: int,
    code: str,
    accept: str,
) -> None:
    response = client.post("/detect", content=bad_file(name, video, tmp_path), headers={"Accept": accept})
    body = problem_of(response, status, code)
    assert str(settings.spool_dir) not in response.text
    if name == "cut off":
        assert "decode=tolerant" in body["detail"]
    still_serves(client, settings, video)


def bad_file(name: str, video: bytes, folder: Path) -> bytes:
    if name == "text":
        return b"This is not a video.\n" * 30
    if name == "playlist":
        return b"ffconcat version 1.0\nfile '/etc/hostname'\n"
    if name == "sound":
        return audio_only(folder / "a.m4a").read_bytes()
    if name in {"png", "jpg"}:
        return png(folder / f"a.{name}").read_bytes()
    if name == "no frames":
        return write_video(folder / "a.mkv", 0, codec="mpeg4").read_bytes()
    if name == "cut off":
        return video[: len(video) * 3 // 4]
    if name == "no index":
        whole = write_video(folder / "a.mp4", 12).read_bytes()
        return whole[: len(whole) // 2]
    if name == "damaged":
        path = write_video(folder / "a.avi", 5, codec="mjpeg", pix_fmt="yuvj420p")
        damage_packet(path, 0)
        return path.read_bytes()
    return write_video(folder / "a.mkv", 3, codec="mpeg4", pts=[0, 40, 70_000]).read_bytes()


def test_tolerant_decoding_serves_the_readable_part_of_a_truncated_video(
    client: TestClient, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.mp4", 40, codec="mpeg4", container_options={"movflags": "faststart"})
    data = path.read_bytes()
    response = client.post("/detect", content=data[: len(data) * 3 // 4], params={"decode": "tolerant"})
    assert response.status_code == 200
    summary = response.json()["summary"]
    assert summary["corrupt"] >= 1
    assert not summary["complete"]
    assert summary["emitted"] + summary["corrupt"] + summary["skipped"] == summary["demuxed"]


def test_an_mp4_with_its_index_at_the_end_works(client: TestClient, tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4", 6).read_bytes()
    assert data.index(b"mdat") < data.index(b"moov")
    assert client.post("/detect", content=data).json()["summary"]["emitted"] == 6


def test_an_empty_body_is_refused(client: TestClient) -> None:
    problem_of(client.post("/detect", content=b""), 400, "empty_body")
    problem_of(client.post("/detect", content=iter([b""])), 400, "empty_body")
    problem_of(client.post("/detect", files={"file": ("a.mp4", b"")}), 400, "empty_body")


def test_a_body_over_the_limit_is_refused_with_and_without_content_length(
    client: TestClient, settings: ServerSettings, video: bytes
) -> None:
    large = b"x" * (MAX_UPLOAD + 1)
    problem_of(client.post("/detect", content=large), 413, "body_too_large")
    chunks = (large[i : i + 50_000] for i in range(0, len(large), 50_000))
    problem_of(client.post("/detect", content=chunks), 413, "body_too_large")
    problem_of(client.post("/detect", files={"file": ("a.mp4", large)}), 413, "body_too_large")
    still_serves(client, settings, video)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json", "image/png", "application/x-www-form-urlencoded"]
)
def test_another_content_type_is_refused(client: TestClient, video: bytes, content_type: str) -> None:
    response = client.post("/detect", content=video, headers={"Content-Type": content_type})
    body = problem_of(response, 415, "unsupported_media_type")
    assert content_type in body["detail"]
    assert "video/*" in body["allowed"]


def test_a_compressed_body_is_refused(client: TestClient, video: bytes) -> None:
    response = client.post("/detect", content=video, headers={"Content-Encoding": "gzip"})
    problem_of(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ([("video", ("a.mp4", b"x"))], "'video'"),
        ([("file", ("a.mp4", b"x")), ("file", ("b.mp4", b"x"))], "more than one part 'file'"),
        ([("file", ("a.mp4", b"x")), ("mode", (None, b"online"))], "'mode'"),
    ],
)
def test_a_form_with_other_parts_is_refused(client: TestClient, files: Any, named: str) -> None:
    body = problem_of(client.post("/detect", files=files), 400, "malformed_request")
    assert named in body["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"no multipart at all",
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nbytes',
        b"--x--\r\n",
        b"--x\r\nContent-Type: video/mp4\r\n\r\nbytes\r\n--x--\r\n",
        b"--x\r\n" + b"A" * 100_000,
    ],
)
def test_a_broken_form_is_refused(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem_of(client.post("/detect", content=body, headers=headers), 400, "malformed_request")
    headers = {"Content-Type": "multipart/form-data"}
    problem_of(client.post("/detect", content=body, headers=headers), 400, "malformed_request")


def test_an_unavailable_media_type_is_refused(client: TestClient, video: bytes) -> None:
    body = problem_of(
        client.post("/detect", content=video, headers={"Accept": "text/html"}), 406, "not_acceptable"
    )
    assert "application/x-ndjson" in body["allowed"]


def test_addresses_and_methods_that_do_not_exist_are_problems(client: TestClient) -> None:
    problem_of(client.get("/nothing"), 404, "not_found")
    response = client.get("/detect")
    problem_of(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def failing_client(settings: ServerSettings, fail_at: int) -> TestClient:
    pipeline = fake_pipeline(FakeEngines(fail_at=fail_at))
    return TestClient(build_app(pipeline, settings, fork_server=FORK_SERVER), raise_server_exceptions=False)


def test_a_late_failure_keeps_its_status_in_json(settings: ServerSettings, video: bytes) -> None:
    response = failing_client(settings, 8).post("/detect", content=video)
    problem_of(response, 500, "engine_failed")
    assert list(settings.spool_dir.iterdir()) == []


def test_a_late_failure_is_the_last_record_of_a_stream(settings: ServerSettings, video: bytes) -> None:
    response = failing_client(settings, 8).post("/detect", content=video, headers=NDJSON)
    assert response.status_code == 200
    *before, last = (json.loads(line) for line in response.iter_lines())
    assert (last["type"], last["code"], last["status"]) == ("error", "engine_failed", 500)
    assert last["emitted"] == sum(record["type"] == "frame" for record in before) > 0


def test_an_early_failure_has_a_real_status_in_a_stream(settings: ServerSettings, video: bytes) -> None:
    response = failing_client(settings, 0).post("/detect", content=video, headers=NDJSON)
    problem_of(response, 500, "engine_failed")


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_an_unexpected_failure_shows_no_internals(
    engines: FakeEngines, settings: ServerSettings, video: bytes, accept: str
) -> None:
    class Broken(FakeEngines):
        def run_frames(self, frames, image_size):
            raise RuntimeError("secret")

    client = TestClient(
        build_app(fake_pipeline(Broken()), settings, fork_server=FORK_SERVER), raise_server_exceptions=False
    )
    response = client.post("/detect", content=video, headers={"Accept": accept})
    problem_of(response, 500, "internal_error")
    assert "secret" not in response.text

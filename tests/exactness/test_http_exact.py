"""`POST /detect` on a lossless file of the clip gives the published detections, however it is asked."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from lossless import write_ffv1
from procedural_clip import CLIP_FRAMES, clip_frame
from published import Published, of_record

from selsa_client import Client
from selsa_server.schema.detect import DetectionDocument, FrameRecord, parse_record

SELSA = Path(sys.executable).parent / "selsa"
EVERYTHING = {"score_threshold": 0}


def as_sent(frame: FrameRecord) -> bytes:
    """The client's frames have methods of their own, so what is equal is what was sent."""
    return frame.model_dump_json().encode()


@pytest.fixture(scope="module")
def document(r18_server: str, video: Path) -> DetectionDocument:
    with httpx.Client(base_url=r18_server, timeout=120) as http:
        answer = http.post("/detect", params=EVERYTHING, content=video.read_bytes())
    assert answer.status_code == 200
    return DetectionDocument.model_validate_json(answer.content)


def test_a_raw_body_gives_every_published_detection(
    document: DetectionDocument, published: Published
) -> None:
    assert document.summary.emitted == CLIP_FRAMES
    assert document.summary.complete
    published.assert_equals({frame.index: of_record(frame) for frame in document.frames})


def test_a_form_gives_the_same_document(r18_server: str, video: Path, document: DetectionDocument) -> None:
    with httpx.Client(base_url=r18_server, timeout=120) as http:
        answer = http.post("/detect", params=EVERYTHING, files={"file": ("a b;c.mkv", video.read_bytes())})
    again = DetectionDocument.model_validate_json(answer.content)
    assert again.frames == document.frames
    assert again.video == document.video


def test_the_client_streams_the_same_records(
    r18_server: str, video: Path, document: DetectionDocument
) -> None:
    with Client(r18_server) as client, client.detect(video, score_threshold=0) as stream:
        assert [as_sent(frame) for frame in stream] == [as_sent(frame) for frame in document.frames]
        assert stream.video == document.video


def test_two_videos_at_once_give_what_each_gives_alone(
    r18_server: str, video: Path, document: DetectionDocument, tmp_path: Path
) -> None:
    other = write_ffv1(tmp_path / "other.mkv", [clip_frame(i)[:, ::-1] for i in range(5)])

    def frames(path: Path) -> list[FrameRecord]:
        with Client(r18_server) as client, client.detect(path, score_threshold=0) as stream:
            return list(stream)

    alone = frames(other)
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(frames, [video, other])
    assert [as_sent(frame) for frame in first] == [as_sent(frame) for frame in document.frames]
    assert second == alone


@pytest.mark.parametrize("where", ["server", "local"])
def test_the_command_prints_the_same_records(
    where: str, r18_server: str, r18_bundle: Path, video: Path, document: DetectionDocument
) -> None:
    options = ["--server", r18_server] if where == "server" else ["--local", "--bundle", str(r18_bundle)]
    command = [SELSA, "detect", video, "--score-threshold", "0", *options]
    done = subprocess.run(command, capture_output=True, check=True)
    said = done.stderr.splitlines()
    assert [
        line for line in said if not line.startswith((b"selsa detect: model: ", b"selsa detect: WARNING: "))
    ] == []
    records = [parse_record(line) for line in done.stdout.splitlines()]
    assert records[0] == document.video
    assert tuple(records[1:-1]) == document.frames
    assert records[-1].type == "summary"

"""Inputs and outputs of `selsa batch`: which videos, which file names, and no incomplete files."""

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from fake_engines import FakeEngines
from fakes import fake_pipeline
from media import write_video
from typer.testing import CliRunner

from selsa_server.batch.inputs import InputsError, find_videos
from selsa_server.batch.output import BatchOutput, BatchRecord, OutputError, ResultFormat, open_output
from selsa_server.batch.worker import VideoWorker
from selsa_server.cli.batch import batch
from selsa_server.errors import VideoError
from selsa_server.schema.detect import DetectParams, parse_record


def names(*inputs: str) -> list[str]:
    return [video.name for video in find_videos(inputs)]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for name in ("a.mp4", "day/b.MKV", "day/c.txt", ".hidden/d.mp4", "day/.e.mp4", "other/a.mp4"):
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "archive"


def test_folders_patterns_lists_and_files_name_each_video_once(archive: Path, tmp_path: Path) -> None:
    assert names(str(archive)) == ["a.mp4", "day/b.MKV", "other/a.mp4"]
    assert names(f"{archive}/day/*") == ["b.MKV", "c.txt"], "a pattern takes what it matches"
    assert names(str(archive / "a.mp4"), f"{archive}/a*") == ["a.mp4"]
    (tmp_path / "list").write_text(f"# mine\n{archive}/a.mp4\n\n{archive}/day\n")
    assert names(f"@{tmp_path}/list") == ["a.mp4", "b.MKV"]
    assert names(str(tmp_path / "gone.mp4")) == ["gone.mp4"], "it fails when its turn comes"


def test_two_videos_never_share_one_result_file(archive: Path) -> None:
    found = names(str(archive / "a.mp4"), str(archive / "other" / "a.mp4"))
    assert len(set(found)) == 2 and all(name.startswith("a.mp4-") for name in found)
    assert found == list(reversed(names(str(archive / "other" / "a.mp4"), str(archive / "a.mp4"))))


def test_remote_addresses_are_read_too() -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/videos/x/one.mp4", b"x")
    (video,) = find_videos(["memory://videos"])
    assert (video.address, video.name) == ("memory:///videos/x/one.mp4", "x/one.mp4")


@pytest.mark.parametrize("text", ["FOLDER", "FOLDER/*.mp4", "@FOLDER/no-list", "nonsense://bucket/x"])
def test_an_input_without_a_video_is_named(text: str, tmp_path: Path) -> None:
    text = text.replace("FOLDER", str(tmp_path))
    with pytest.raises(InputsError) as refused:
        find_videos([text])
    assert text.removeprefix("@") in str(refused.value)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "video.mp4", 12, codec="mpeg4")


@pytest.fixture(params=["folder", "memory"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> BatchOutput:
    address = str(tmp_path / "out") if request.param == "folder" else f"memory://out/{tmp_path.name}"
    return open_output(address, "ndjson", {"bundle": "b"})


def records(video: Path) -> Iterator[BatchRecord]:
    return fake_pipeline(FakeEngines()).run(video, DetectParams(score_threshold=0.5))


def test_a_result_appears_only_when_it_is_complete(output: BatchOutput, video: Path) -> None:
    def breaking() -> Iterator[BatchRecord]:
        yield next(iter(records(video)))
        assert not output.has("day/clip.mp4")
        raise VideoError("undecodable", "in the middle")

    with pytest.raises(VideoError):
        output.write("day/clip.mp4", breaking())
    assert output.done() == frozenset()
    output.write("day/clip.mp4", records(video))
    assert output.done() == {"day/clip.mp4.ndjson"}
    assert output.has("day/clip.mp4")
    files, root = fsspec.core.url_to_fs(output.address)
    lines = files.cat_file(f"{root}/day/clip.mp4.ndjson").splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["video", *["frame"] * 12, "summary"]
    assert [path for path in files.find(root) if "part" in path] == []


def test_parquet_has_a_row_for_each_detection_and_for_each_frame_without_one(
    tmp_path: Path, video: Path
) -> None:
    output = BatchOutput(address=str(tmp_path), format="parquet")
    expected = list(records(video))
    output.write("clip", expected)
    table = pq.read_table(tmp_path / "clip.parquet").to_pylist()
    found = [
        (row["index"], row["pts"], row["class_name"], None if row["x2"] is None else round(row["x2"], 3))
        for row in table
    ]
    assert found == [
        (frame.index, frame.pts, each and each.class_name, each and round(each.box.x2, 3))
        for frame in expected
        if frame.type == "frame"
        for each in frame.detections or [None]
    ]
    metadata = pq.ParquetFile(tmp_path / "clip.parquet").metadata.metadata
    assert json.loads(metadata[b"selsa.video"])["type"] == "video"
    assert json.loads(metadata[b"selsa.summary"])["emitted"] == 12


@pytest.mark.parametrize("name", ["ndjson", "parquet"])
def test_results_with_tracks_have_the_numbers_of_the_whole_video(tmp_path: Path, name: ResultFormat) -> None:
    video = write_video(tmp_path / "a.mp4", picture=lambda _: np.full((48, 64, 3), 250, np.uint8))
    params = DetectParams(tracks=True, score_threshold=0.01, stride=2, fill="interpolate")
    pipeline = fake_pipeline(FakeEngines())
    found = list(pipeline.run(video, params))
    # As if the summary said that the object is another one.
    numbers = {each.track_id for frame in found if frame.type == "frame" for each in frame.detections}
    assert numbers - {None}, "there is an object"
    aliases = {number: number + 40 for number in numbers if number}
    found[-1] = found[-1].model_copy(update={"aliases": aliases})
    BatchOutput(address=str(tmp_path), format=name).write("clip", found)
    if name == "parquet":
        rows = pq.read_table(tmp_path / "clip.parquet").to_pylist()
        written = [(row["index"], row["track_id"], row["filled"]) for row in rows]
    else:
        records = [parse_record(line) for line in (tmp_path / "clip.ndjson").read_text().splitlines()]
        assert [record.type for record in records] == ["video", *["frame"] * 12, "summary"]
        frames = [record for record in records if record.type == "frame"]
        written = [
            (frame.index, each.track_id, frame.filled) for frame in frames for each in frame.detections
        ]
    assert [index for index, _, _ in written] == list(range(12))
    assert [filled for _, _, filled in written] == [False, True] * 5 + [False, False]
    assert {number for _, number, _ in written} == {aliases.get(number) for number in numbers}


def test_a_folder_with_results_of_something_else_is_refused(output: BatchOutput) -> None:
    assert open_output(output.address, "ndjson", {"bundle": "b"}) == output
    with pytest.raises(OutputError, match="has results of another bundle; name another folder"):
        open_output(output.address, "ndjson", {"bundle": "other"})


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(OutputError, match="/proc/selsa cannot be written"):
        open_output("/proc/selsa", "ndjson", {})


def test_a_worker_continues_after_a_failed_video_and_reports_the_reason(
    output: BatchOutput, video: Path
) -> None:
    pipeline = fake_pipeline(FakeEngines())
    junk = video.with_name("junk.mp4")
    junk.write_bytes(b"x" * 1000)
    worker = VideoWorker(lambda: pipeline.bundle, pipeline.options, DetectParams().model_dump_json(), output)
    batch = {"address": [str(junk), "/gone.mp4", str(video)], "name": ["junk", "gone", "clip"]}
    outcomes = worker(batch)
    assert outcomes["state"] == ["failed", "failed", "done"]
    assert outcomes["code"] == ["not_a_video", "internal_error", ""]
    assert "No such file" in outcomes["detail"][1]
    assert worker(batch)["state"] == ["failed", "failed", "there"]
    assert output.done() == {"clip.ndjson"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["x.mp4"], 2, "Missing option"),
        (["FOLDER", "-o", "FOLDER/out"], 3, "there is no video at"),
        (["x.mp4", "-o", "out", "--mode", "quick"], 2, "mode 'quick'"),
        (["x.mp4", "-o", "out", "--replicas", "0"], 2, "replicas '0'"),
        (["x.mp4", "-o", "/proc/selsa"], 2, "cannot be written"),
        (["x.mp4", "-o", "FOLDER/out", "--classes", "unicorn"], 2, "no class 'unicorn'"),
        (["x.mp4", "-o", "FOLDER/out", "--bundle", "FOLDER"], 4, "manifest.json"),
        (
            ["x.mp4", "-o", "FOLDER/out", "--address", "127.0.0.1:9"],
            4,
            "no Ray cluster answers at 127.0.0.1:9",
        ),
    ],
)
def test_impossible_options_are_refused_before_anything_runs(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    app = typer.Typer()
    app.command("batch")(batch)
    result = CliRunner().invoke(app, [each.replace("FOLDER", str(tmp_path)) for each in arguments])
    assert result.exit_code == code, result.output
    assert said in " ".join(result.stderr.split())

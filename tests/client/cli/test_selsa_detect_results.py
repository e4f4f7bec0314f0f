"""`selsa detect` with result files and drawings: which files exist afterwards, and the exit codes."""

import json

import av
import cv2
import pytest
from fake_engines import FakeEngines
from live_server import live_server
from media import frame_pixels, write_video
from typer.testing import CliRunner

from selsa_client.cli.main import build_app
from selsa_server.settings import ServerSettings


def selsa(*arguments):
    return CliRunner().invoke(build_app(), list(map(str, arguments)), prog_name="selsa")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    settings = ServerSettings(spool_dir=folder, jobs_dir=folder / "jobs")
    with live_server(FakeEngines(), settings, batch=3) as address:
        yield f"http://{address}"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_run_gives_a_result_file_a_drawn_video_and_a_sheet(address, tmp_path):
    video = write_video(tmp_path / "a.mp4", 5)
    done = selsa(
        "detect",
        video,
        "--server",
        address,
        "-o",
        tmp_path / "a.coco.json",
        "--render",
        tmp_path / "d.mp4",
        "--show-sheet",
        tmp_path / "s.png",
    )
    assert done.exit_code == 0, done.stderr
    assert names(tmp_path) == ["a.coco.json", "a.mp4", "d.mp4", "s.png"]
    assert isinstance(json.loads((tmp_path / "a.coco.json").read_text()), list)
    with av.open(str(tmp_path / "d.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


def test_each_of_several_videos_has_its_files_in_the_folder(address, tmp_path):
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", 3)
    done = selsa(
        "detect", tmp_path, "--server", address, "--format", "csv", "-o", tmp_path, "--render", tmp_path
    )
    assert done.exit_code == 0, done.stderr
    assert names(tmp_path) == ["a-drawn.mp4", "a.csv", "a.mp4", "b-drawn.mp4", "b.csv", "b.mp4"]


def test_a_format_can_go_to_stdout(stub, clip):
    done = selsa("detect", clip, "--server", stub.address, "--format", "csv")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 4
    assert all(line.count(",") == 10 for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", ["mot", "youtube-vis"])
def test_a_format_of_objects_asks_for_tracks_and_names_what_is_missing(stub, clip, name):
    done = selsa("detect", clip, "--server", stub.address, "--format", name)
    assert "tracks=true" in stub.requests[-1][0]
    # This server knows no tracks.
    assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
    assert "needs the numbers of objects" in done.stderr


@pytest.mark.parametrize("name", ["o.csv", "o.coco.json", "o.txt", "o.ytvis.json"])
def test_an_incomplete_answer_leaves_no_file_and_exits_5(stub, samples, clip, tmp_path, name):
    video = samples.video | {"look_ahead": 0}
    stub.answer = lambda handler: handler.records(samples.ndjson(video, samples.frames[0]))
    done = selsa("detect", clip, "--server", stub.address, "-o", tmp_path / name, "--retries", 0)
    assert done.exit_code == 5
    assert names(tmp_path) == ["clip.mp4"]


def test_a_failed_run_leaves_no_drawing(stub, samples, tmp_path):
    video = write_video(tmp_path / "a.mp4", 3)
    stub.answer = lambda handler: handler.records(samples.ndjson(samples.video, samples.frames[0]))
    done = selsa(
        "detect",
        video,
        "--server",
        stub.address,
        "--retries",
        0,
        "--render",
        tmp_path / "d.mp4",
        "--show-sheet",
        tmp_path / "s.png",
    )
    assert done.exit_code == 5
    assert names(tmp_path) == ["a.mp4"]


def test_a_video_that_cannot_be_drawn_is_one_line_and_exits_3(stub, clip, tmp_path):
    done = selsa("detect", clip, "--server", stub.address, "--render", tmp_path / "d.mp4")
    assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
    assert "Cannot draw" in done.stderr
    assert names(tmp_path) == ["clip.mp4"]


def test_no_video_is_overwritten_and_wrong_names_exit_2(stub, clip, tmp_path):
    before = clip.read_bytes()
    for wrong in (
        ["--render", clip],
        ["-o", clip, "--format", "json"],
        ["--render", tmp_path / "a.avi"],
        ["--show-sheet", tmp_path / "a.jpg"],
        ["--render", tmp_path / "no" / "a.mp4"],
        ["-o", tmp_path / "a.yaml"],
        ["--format", "xml"],
    ):
        assert selsa("detect", clip, "--server", stub.address, *wrong).exit_code == 2, wrong
    assert selsa("detect", clip, clip, "--server", stub.address, "--format", "csv").exit_code == 2
    assert selsa("detect", "camera:0", "--server", stub.address, "--render", "a.mp4").exit_code == 2
    assert stub.requests == []
    assert clip.read_bytes() == before


def write_picture(path, size=(64, 48)):
    cv2.imwrite(str(path), frame_pixels(3, *size))
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_is_a_video_of_one_frame(address, tmp_path, suffix):
    picture = write_picture(tmp_path / f"a{suffix}")
    done = selsa("detect", picture, "--server", address, "-o", tmp_path / "a.ndjson")
    assert done.exit_code == 0, done.stderr
    kinds = [json.loads(line)["type"] for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    assert kinds == ["video", "frame", "summary"]


def test_a_folder_of_pictures_is_a_video_that_can_be_drawn(address, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        write_picture(folder / f"{number:06d}.png")
    done = selsa("detect", folder, "--server", address, "--render", tmp_path / "d.mp4")
    assert done.exit_code == 0, done.stderr
    with av.open(str(tmp_path / "d.mp4")) as drawn:
        assert len(list(drawn.decode(video=0))) == 3
    assert "3 frames" in done.stderr and "d.mp4" in done.stderr.splitlines()[-1]


def test_pictures_of_two_sizes_and_files_that_are_no_picture_are_named(address, tmp_path):
    write_picture(tmp_path / "0.png")
    write_picture(tmp_path / "1.png", size=(32, 32))
    done = selsa("detect", tmp_path / "%d.png", "--server", address)
    assert done.exit_code == 3
    assert "1.png is png of 32 x 32 pixels" in done.stderr
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    done = selsa("detect", tmp_path / "x.jpg", "--server", address)
    assert done.exit_code == 3
    assert "x.jpg" in done.stderr


def test_without_a_server_it_says_how_to_start_one(clip):
    done = selsa("detect", clip, "--server", "http://127.0.0.1:9", "--retries", "0")
    assert done.exit_code == 4
    assert "selsa serve" in done.stderr and "--local" in done.stderr


def test_an_unknown_class_gets_the_nearest_names_and_commas_separate_classes(address, tmp_path):
    video = write_video(tmp_path / "a.mp4", 2)
    done = selsa("detect", video, "--server", address, "--classes", "dog,horze")
    assert done.exit_code == 3
    assert "no class 'horze'" in done.stderr
    assert selsa("detect", video, "--server", address, "--classes", "dog, dog").exit_code == 0

"""`selsa import-data` writes what `--data` reads directly, in frames and boxes alike."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from label_files import cvat_box, cvat_text, studio_entry, studio_task, write_clip, write_studio
from typer.testing import CliRunner, Result

from selsa_training.cli.data import check_data, import_data
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.images import read_image
from selsa_training.data.issues import IssueLog


def invoke(*arguments: object) -> Result:
    app = typer.Typer()
    app.command("import-data")(import_data)
    app.command("check-data")(check_data)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A folder of three CVAT files with their videos."""
    folder = tmp_path / "labels"
    for number in range(3):
        write_clip(folder, f"clip{number}")
        boxes = [cvat_box(1, (3.25, 4, 20 + number, 30)), cvat_box(7, (20.1, 9, 40, 44.75), occluded=1)]
        text = cvat_text(("car", boxes), ("dog", [cvat_box(4, (1, 1, 9, 9))]), source=f"clip{number}.mp4")
        (folder / f"clip{number}.xml").write_text(text)
    return folder


def test_the_written_set_equals_what_is_read_directly(labels: Path, tmp_path: Path) -> None:
    result = invoke("import-data", labels, tmp_path / "set", "--png")
    assert result.exit_code == 0, result.output
    assert "train: 2 videos, 24 frames" in result.output
    for split in ("train", "val"):
        log = IssueLog()
        direct = open_data(DataSource(path=labels), split, log)
        written = open_data(DataSource(path=tmp_path / "set"), split, log)
        assert not log.counts
        assert written.classes == direct.classes == ("car", "dog")
        assert written.video_names == direct.video_names
        for name in (
            "first_frame",
            "first_object",
            "boxes",
            "labels",
            "tracks",
            "flags",
            "frame_sizes",
            "key",
        ):
            assert np.array_equal(getattr(written, name), getattr(direct, name)), name
        for frame in range(direct.frame_count):
            assert np.array_equal(read_image(written.path(frame)), read_image(direct.path(frame)))


def test_the_held_out_videos_are_printed_and_kept(labels: Path, tmp_path: Path) -> None:
    result = invoke("import-data", labels, tmp_path / "set", "--val", "clip1")
    assert "held out: clip1" in result.output
    about = json.loads((tmp_path / "set/import.json").read_text())
    assert about["videos"] == {"train": ["clip0", "clip2"], "val": ["clip1"]}


def test_a_written_set_and_the_labels_themselves_pass_the_check(labels: Path, tmp_path: Path) -> None:
    invoke("import-data", labels, tmp_path / "set")
    for path in (labels, tmp_path / "set"):
        result = invoke("check-data", path, "--images")
        assert result.exit_code == 0
        assert result.stdout.count("0 fatal, 0 skipped") == 2


def test_a_broken_label_file_ends_with_status_3_and_leaves_no_folder(labels: Path, tmp_path: Path) -> None:
    path = labels / "clip1.xml"
    path.write_text(path.read_text().replace('xtl="3.25"', 'xtl="?"'))
    result = invoke("import-data", labels, tmp_path / "set")
    assert result.exit_code == 3
    assert f"{path}:10: broken file: xtl '?' is no number" in result.output
    assert not (tmp_path / "set").exists()


def test_a_check_of_label_studio_names_both_splits(tmp_path: Path) -> None:
    tasks = []
    for name in ("a", "b"):
        write_clip(tmp_path, name)
        tasks.append(studio_task([studio_entry(1, 10)], video=f"{name}.mp4"))
    result = invoke("check-data", write_studio(tmp_path / "export.json", *tasks))
    assert result.exit_code == 0
    assert "train: 1 videos" in result.stdout
    assert "val: 1 videos" in result.stdout


def test_something_else_at_the_place_is_never_replaced(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    result = invoke("import-data", labels, tmp_path / "set", "--overwrite")
    assert result.exit_code == 3
    assert "will not be replaced" in result.output

"""`selsa check-data` names problems before training; its exit status says whether training would start."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from data_folders import coco_content, write_coco, write_epic, write_image, write_imagenet
from typer.testing import CliRunner

from selsa_training.cli import data as cli_data
from selsa_training.data.errors import DataError, ImageError
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.images import image_size, read_image, verify_image
from selsa_training.data.issues import IssueLog


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("check-data")(cli_data.check_data)
    app.command("synthesize")(cli_data.synthesize)
    return app


def test_importing_the_commands_loads_no_heavy_module() -> None:
    heavy = ("torch", "numpy", "cv2", "PIL", "rich.progress", "pycocotools")
    code = f"import sys, selsa_training.cli.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_making_and_checking_data_needs_no_torch() -> None:
    parts = ("data.report", "data.synthetic.write", "evaluation.metrics.scores")
    modules = ", ".join(f"selsa_training.{part}" for part in parts)
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_sound_data_set_passes(app: typer.Typer, tmp_path: Path) -> None:
    root = write_imagenet(tmp_path / "data")
    result = CliRunner().invoke(app, ["check-data", str(root), "--images"])
    assert result.exit_code == 0
    assert "train: 3 videos, 13 frames, 13 objects of 30 classes, 5 key frames" in result.stdout
    assert "val: 1 videos, 6 frames, 6 objects of 30 classes, 6 key frames" in result.stdout
    assert result.stdout.count("0 fatal, 0 skipped") == 2


def test_a_fatal_issue_is_named_counted_and_ends_with_status_3(app: typer.Typer, tmp_path: Path) -> None:
    root = write_imagenet(tmp_path / "data")
    broken = root / "Annotations/VID/val/w0/000001.xml"
    broken.write_text("<annotation>\n<size>\n")
    (root / "Data/VID/val/w0/000002.JPEG").unlink()
    report = tmp_path / "report.json"
    arguments = ["check-data", str(root), "--split", "val", "--json", str(report)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3
    assert f"{broken}:3: broken file: not well-formed" in result.stdout
    assert "000002.JPEG: missing image" in result.stdout
    assert "2 fatal, 0 skipped: 1 broken file, 1 missing image" in result.stdout
    assert "error: 2 issues" in result.stderr
    (split,) = json.loads(report.read_text())["splits"]
    assert split["counts"] == {"broken_file": 1, "missing_image": 1}
    assert split["issues"][0] | {"detail": ""} == {
        "kind": "broken_file",
        "fatal": True,
        "file": str(broken),
        "line": 3,
        "detail": "",
    }


def test_skipped_annotations_fail_only_if_asked(app: typer.Typer, tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][2]["bbox"] = [5, 5, 0, 5]
    path = write_coco(tmp_path, content)
    assert CliRunner().invoke(app, ["check-data", str(path)]).exit_code == 0
    result = CliRunner().invoke(app, ["check-data", str(path), "--strict"])
    assert result.exit_code == 3
    assert "box without area" in result.stdout


def test_only_the_first_of_each_kind_are_printed(app: typer.Typer, tmp_path: Path) -> None:
    root = write_imagenet(tmp_path / "data")
    for frame in range(6):
        (root / f"Annotations/VID/val/w0/{frame:06d}.xml").unlink()
    result = CliRunner().invoke(app, ["check-data", str(root), "--split", "val", "--show", "2"])
    assert result.stdout.count(": missing file") == 2
    assert "... 4 more missing file" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["."], "is none of"),
        ([".", "--split", "test"], "neither train nor val"),
    ],
)
def test_a_path_without_a_data_set_gives_one_line_and_status_3(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["check-data", *arguments])
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_images_are_checked(app: typer.Typer, tmp_path: Path) -> None:
    path = write_coco(tmp_path, coco_content())
    (tmp_path / "v7/0.jpg").write_bytes(b"no image at all")
    (tmp_path / "v7/1.jpg").unlink()
    write_image(tmp_path / "v7/2.jpg", 30, 30)
    whole = tmp_path / "v5/0.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    cv2.imwrite(str(whole), noise)
    whole.write_bytes(whole.read_bytes()[:-500])
    result = CliRunner().invoke(app, ["check-data", str(path)])
    assert "0.jpg: unreadable image" in result.stdout
    assert "1.jpg: missing image" in result.stdout
    assert "2.jpg: wrong image size: is 30x30, its annotation says 64x48" in result.stdout
    assert "3 fatal" in result.stdout
    # Only decoding it to its end tells that an image was cut off.
    assert "v5/0.jpg" not in result.stdout
    result = CliRunner().invoke(app, ["check-data", str(path), "--images"])
    assert "v5/0.jpg: unreadable image" in result.stdout
    assert "4 fatal" in result.stdout


def test_sizes_follow_the_exif_orientation(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(path, exif=exif)
    assert image_size(path) == verify_image(path) == read_image(path).shape[:2] == (64, 48)


@pytest.mark.parametrize("content", [b"", b"x", None])
def test_a_file_that_is_not_an_image_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "image.jpg"
    if content is not None:
        path.write_bytes(content)
    for read in (read_image, image_size, verify_image):
        with pytest.raises(ImageError, match=r"image\.jpg"):
            read(path)


def test_each_format_is_recognised_by_its_files(tmp_path: Path) -> None:
    rows = [f'3,pan,P01,P01_{n:02d},5,"[(0, 0, 9, 9)]"\n' for n in range(20)]
    epic = write_epic(tmp_path / "epic", rows)
    paths = {
        write_imagenet(tmp_path / "imagenet"): 30,
        epic: 1,
        epic / "EPIC_train_object_labels.csv": 1,
        write_coco(tmp_path, coco_content()): 2,
    }
    for path, classes in paths.items():
        log = IssueLog()
        assert len(open_data(DataSource(path=path), "train", log).classes) == classes
        assert not log.counts
    with pytest.raises(DataError, match="none of"):
        open_data(DataSource(path=tmp_path), "train", IssueLog())

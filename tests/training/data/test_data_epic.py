"""EPIC-KITCHENS-55: (top, left, height, width) lists, several rows per frame, a stable split."""

from pathlib import Path

import pytest
from data_folders import EPIC_HEADER, write_epic

from selsa_training.data.formats.epic_kitchens import is_held_out, read_epic_kitchens
from selsa_training.data.issues import IssueLog

ROWS = [
    '10,knife,P01,P01_01,61,"[(2, 5, 20, 30)]"\n',
    '3,pan,P01,P01_01,61,"[(1, 1, 10, 10), (20, 30, 8, 9)]"\n',
    '3,pan:frying,P01,P01_01,31,"[]"\n',
    '3,pan,P01,P01_02,5,"[(0, 0, 48, 64)]"\n',
]


@pytest.mark.parametrize("pattern", ["{:010d}.jpg", "frame_{:010d}.jpg", "frame{:010d}.jpg"])
def test_rows_become_frames_in_order(tmp_path: Path, pattern: str) -> None:
    log = IssueLog()
    data = read_epic_kitchens(write_epic(tmp_path, ROWS, pattern=pattern), "train", log, held_out=0)
    assert not log.counts
    assert data.classes == ("pan", "knife")
    assert data.video_names == ("P01_01", "P01_02")
    assert [data.frame_names[f] for f in range(3)] == [pattern.format(n) for n in (31, 61, 5)]
    assert data.objects(1).boxes.tolist() == [[5, 2, 35, 22], [1, 1, 11, 11], [30, 20, 39, 28]]
    assert [data.classes[label] for label in data.objects(1).labels] == ["knife", "pan", "pan"]
    assert data.training_keys().tolist() == [1, 2]


def test_nouns_have_their_official_names(tmp_path: Path) -> None:
    root = write_epic(tmp_path, ROWS)
    (root / "EPIC_noun_classes.csv").write_text("noun_id,class_key,nouns\n3,pan,\"['pan']\"\n10,cutlery,[]\n")
    assert read_epic_kitchens(root, "train", IssueLog(), held_out=0).classes == ("pan", "cutlery")


def test_videos_are_either_held_out_or_trained_on(tmp_path: Path) -> None:
    rows = [f'3,pan,P01,P01_{n:02d},5,"[(0, 0, 9, 9)]"\n' for n in range(30)]
    root = write_epic(tmp_path, rows)
    train, val = (
        read_epic_kitchens(root, split, IssueLog(), held_out=0.3)  # type: ignore[arg-type]
        for split in ("train", "val")
    )
    assert train.classes == val.classes
    assert not set(train.video_names) & set(val.video_names)
    assert train.video_count + val.video_count == 30
    assert 3 <= val.video_count <= 16


def test_the_share_that_is_held_out_only_ever_grows() -> None:
    names = [f"P{p:02d}_{n:02d}" for p in range(30) for n in range(10)]
    small = {name for name in names if is_held_out(name, 0.1)}
    large = {name for name in names if is_held_out(name, 0.3)}
    assert small < large
    assert 0.05 < len(small) / len(names) < 0.15
    assert not any(is_held_out(name, 0) for name in names)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("3,pan,P01,P01_01,7,\"__import__('os')\"\n", "bad_record"),
        ('3,pan,P01,P01_01,7,"[(1, 2, 3)]"\n', "bad_record"),
        ('x,pan,P01,P01_01,7,"[]"\n', "bad_record"),
        ('3,pan,..,P01_01,7,"[]"\n', "bad_record"),
        ("3,pan\n", "bad_record"),
        ('3,pan,P01,P01_01,7,"[(1, 2, 0, 4)]"\n', "box_without_area"),
        ('3,pan,P01,P01_01,7,"[(100, 2, 4, 4)]"\n', "box_outside_image"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, row: str, kind: str) -> None:
    root = write_epic(tmp_path, ROWS)
    write_epic(root, ['3,pan,P01,P01_01,7,"[]"\n'])
    path = root / "EPIC_train_object_labels.csv"
    path.write_text(EPIC_HEADER + "".join(ROWS) + row)
    log = IssueLog()
    read_epic_kitchens(root, "train", log, held_out=0)
    assert [(i.kind, i.file, i.line) for i in log] == [(kind, path, 6)]


def test_missing_images_videos_and_columns_are_issues(tmp_path: Path) -> None:
    root = write_epic(tmp_path / "a", ROWS)
    folder = root / "object_detection_images/train/P01"
    (folder / "P01_01/0000000061.jpg").unlink()
    (folder / "P01_02/0000000005.jpg").unlink()
    (folder / "P01_02").rmdir()
    log = IssueLog()
    read_epic_kitchens(root, "train", log, held_out=0)
    assert [(i.kind, i.line) for i in log] == [
        ("missing_video", 5),
        ("missing_image", 2),
        ("empty_split", None),
    ]

    (root / "EPIC_train_object_labels.csv").write_text("noun,frame\n")
    log = IssueLog()
    read_epic_kitchens(root, "train", log)
    assert next(iter(log)).detail.startswith("has no column noun_class")

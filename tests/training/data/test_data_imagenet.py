"""ImageNet VID and DET in their own layout; every issue has file and line, nothing raises."""

from pathlib import Path

import numpy as np
import pytest
from data_folders import CAR, write_imagenet, xml, xml_object

from selsa_bundle.classes import IMAGENET_VID
from selsa_training.data.errors import DataError
from selsa_training.data.formats.imagenet_vid import read_imagenet
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import OCCLUDED


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_imagenet(tmp_path / "ILSVRC2015")


def test_training_has_all_frames_and_the_listed_keys_one_before_their_index(root: Path) -> None:
    log = IssueLog()
    data = read_imagenet(root, "train", log)
    assert not log.counts
    assert data.classes == IMAGENET_VID
    assert data.video_names == ("train/A/v0", "train/A/v1", "train/x")
    assert data.still.tolist() == [False, False, True]
    # The list says 1 and 4; mmtracking takes one off.
    assert [data.path(int(f)).name for f in data.training_keys()] == [
        "000000.JPEG",
        "000003.JPEG",
        "000000.JPEG",
        "000003.JPEG",
        "x.JPEG",
    ]
    assert data.path(2) == root / "Data/VID/train/A/v0/000002.JPEG"
    assert data.path(2).is_file()


def test_a_still_that_is_listed_twice_is_trained_on_twice(root: Path) -> None:
    with (root / "ImageSets/VID/DET_train_30classes.txt").open("a") as file:
        file.write("train/x 1\n")
    log = IssueLog()
    data = read_imagenet(root, "train", log)
    assert [data.path(int(f)).name for f in data.training_keys()[-2:]] == ["x.JPEG", "x.JPEG"]
    assert not log.counts


def test_a_frame_without_a_usable_box_is_trained_as_background(root: Path) -> None:
    place = root / "Annotations/VID/train/A/v0"
    # 000000 and 000003 are key frames. A box without width is an annotation, no object is none.
    (place / "000000.xml").write_text(xml(xml_object(box=(4, 6, 4, 40))))
    (place / "000003.xml").write_text(xml())
    data = read_imagenet(root, "train", IssueLog(), with_det=False)
    keys = data.training_keys()
    assert [data.path(int(f)).relative_to(root / "Data/VID/train/A").as_posix() for f in keys] == [
        "v0/000000.JPEG",
        "v1/000000.JPEG",
        "v1/000003.JPEG",
    ]
    assert data.learnable_objects()[keys].tolist() == [0, 1, 1]


@pytest.mark.parametrize(("height", "kept"), [(32, 1), (31, 0)])
def test_a_frame_under_32_pixels_is_no_key_frame(root: Path, height: int, kept: int) -> None:
    place = root / "Annotations/VID/train/A/v0/000000.xml"
    place.write_text(xml(xml_object(box=(4, 6, 30, 30)), height=height))
    data = read_imagenet(root, "train", IssueLog(), with_det=False)
    assert len(data.training_keys()) == 3 + kept


def test_objects_are_as_annotated(root: Path) -> None:
    data = read_imagenet(root, "train", IssueLog())
    found = data.objects(3)
    assert found.boxes.tolist() == [[7, 6, 33, 40]]
    assert [data.classes[label] for label in found.labels] == ["dog"]
    assert found.tracks.tolist() == [0]
    assert data.flags[found.index].tolist() == [OCCLUDED]
    assert data.frame_sizes[3].tolist() == [48, 64]


def test_det_objects_of_other_classes_are_left_out_without_an_issue(root: Path) -> None:
    log = IssueLog()
    data = read_imagenet(root, "train", log)
    still = data.objects(data.frame_count - 1)
    assert [data.classes[label] for label in still.labels] == ["car"]
    assert not log.counts


def test_validation_has_every_frame_as_a_key(root: Path) -> None:
    data = read_imagenet(root, "val", IssueLog())
    assert data.video_names == ("val/w0",)
    assert len(data.training_keys()) == data.frame_count == 6


def test_the_official_frame_list_is_enough_for_validation(root: Path) -> None:
    lists = root / "ImageSets/VID"
    (lists / "VID_val_videos.txt").unlink()
    (lists / "val.txt").write_text("".join(f"w0/{frame:06d} {frame + 1}\n" for frame in range(6)))
    log = IssueLog()
    assert read_imagenet(root, "val", log).frame_count == 6
    assert not log.counts


def damage_list(root: Path) -> None:
    with (root / "ImageSets/VID/VID_val_videos.txt").open("a") as file:
        file.write("val/nowhere 1 0 9\nval/w0 1 0\nval/../../etc 1 0 3\nval/w0 1 0 6\n")


def damage_image(root: Path) -> None:
    (root / "Data/VID/val/w0/000002.JPEG").unlink()


LIST = "ImageSets/VID/VID_val_videos.txt"


def test_a_list_is_read_line_by_line_and_each_bad_line_named(root: Path) -> None:
    damage_list(root)
    log = IssueLog()
    data = read_imagenet(root, "val", log)
    assert data.video_names == ("val/w0",)
    assert [(i.kind, i.file, i.line) for i in log] == [
        ("missing_video", root / LIST, 2),
        ("bad_record", root / LIST, 3),
        ("bad_record", root / LIST, 4),
        ("repeated_entry", root / LIST, 5),
    ]


def test_a_missing_image_is_named_and_its_frame_left_out(root: Path) -> None:
    damage_image(root)
    log = IssueLog()
    data = read_imagenet(root, "val", log)
    assert [str(i.file) for i in log] == [str(root / "Data/VID/val/w0/000002.JPEG")]
    assert data.frame_count == 5
    assert data.path(2).name == "000003.JPEG"
    with pytest.raises(DataError, match=r"000002\.JPEG: missing image.*1 missing image"):
        log.raise_if_fatal()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("<annotation><size></annotation>", 1, "not well-formed"),
        ("", 1, "not well-formed"),
        ("<annotation>\n</annotation>", None, "<size>"),
        ("<annotation>\n<size>\n<width>-1</width></size></annotation>", 3, "<width> '-1'"),
        (xml(xml_object(box=("a", 1, 2, 3))), 4, "<xmin> 'a' is no number"),
        (xml(xml_object(box=("nan", 1, 2, 3))), 4, "no number"),
        (xml(xml_object(), xml_object().replace("xmax", "other")), 5, "without <xmax>"),
        (xml(xml_object(track=-1)), 4, "<trackid> '-1'"),
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]>\n' + xml(xml_object("&b;")), 1, "DOCTYPE"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd">\n' + xml(), 1, "DOCTYPE"),
    ],
)
def test_a_broken_annotation_is_named_with_its_line(
    root: Path, text: str, line: int | None, message: str
) -> None:
    path = root / "Annotations/VID/val/w0/000001.xml"
    path.write_text(text)
    log = IssueLog()
    data = read_imagenet(root, "val", log)
    (issue,) = log
    assert (issue.kind, issue.file, issue.line) == ("broken_file", path, line)
    assert message in issue.detail
    assert data.frame_count == 5


@pytest.mark.parametrize(
    ("found", "kind", "objects"),
    [
        (xml_object(box=(10, 10, 10, 20)), "box_without_area", 0),
        (xml_object(box=(30, 10, 10, 20)), "box_without_area", 0),
        (xml_object(box=(10, 10, 10.5, 20)), "box_without_area", 0),
        (xml_object(box=(63.5, 10, 90, 20)), "box_outside_image", 0),
        (xml_object(box=(70, 10, 90, 20)), "box_outside_image", 0),
        (xml_object(box=(-9, 10, 20, 60)), "box_clipped", 1),
        (xml_object("n00007846"), "unknown_class", 0),
    ],
)
def test_a_bad_object_is_counted_and_does_not_prevent_training(
    root: Path, found: str, kind: str, objects: int
) -> None:
    path = root / "Annotations/VID/val/w0/000001.xml"
    path.write_text(xml(found, xml_object(CAR)))
    log = IssueLog()
    data = read_imagenet(root, "val", log)
    (issue,) = log
    assert (issue.kind, issue.file, issue.line) == (kind, path, 4)
    assert len(data.objects(1).labels) == objects + 1
    assert log.fatal == 0
    log.raise_if_fatal()


def test_a_box_one_pixel_over_the_edge_is_clipped_without_an_issue(root: Path) -> None:
    (root / "Annotations/VID/val/w0/000001.xml").write_text(xml(xml_object(box=(0, 0, 65, 48))))
    log = IssueLog()
    assert read_imagenet(root, "val", log).objects(1).boxes.tolist() == [[0, 0, 64, 48]]
    assert not log.counts


def test_missing_lists_and_an_empty_split_are_issues(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    log = IssueLog()
    data = read_imagenet(tmp_path, "train", log)
    assert data.frame_count == 0
    assert [i.kind for i in log] == ["missing_file", "missing_file", "empty_split"]


def test_the_log_keeps_the_first_of_each_kind_and_counts_all(root: Path) -> None:
    for frame in range(6):
        (root / f"Annotations/VID/val/w0/{frame:06d}.xml").unlink()
    log = IssueLog(keep=2)
    read_imagenet(root, "val", log)
    assert log.counts["missing_file"] == 6
    assert len([i for i in log if i.kind == "missing_file"]) == 2
    assert "6 missing file" in log.summary()


def test_memory_per_frame_is_small(root: Path) -> None:
    data = read_imagenet(root, "train", IssueLog())
    arrays = [data.frame_names.blob, data.frame_names.starts, *vars(data).values()]
    size = sum(each.nbytes for each in arrays if isinstance(each, np.ndarray))
    # 1.2 million frames of this are 120 MB.
    assert size / data.frame_count < 100
    assert np.shares_memory(data.objects(0).boxes, data.boxes)

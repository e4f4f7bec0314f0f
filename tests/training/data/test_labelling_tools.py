"""What labelling tools write is read by each tool's own rules, and a broken file is named with its line."""

from pathlib import Path

import pytest
from data_folders import write_image, write_json
from label_files import (
    FRAMES,
    boxes_by_frame,
    cvat_box,
    cvat_text,
    studio_entry,
    studio_task,
    write_clip,
    write_studio,
)

from selsa_training.data.formats.labelled import (
    Keyframe,
    LabelledTrack,
    LabelledVideo,
    Labels,
    Media,
    data_set,
    held_out,
)
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import IGNORED, OCCLUDED, DataSet


def read(path: Path, split: str = "train", **source: object) -> tuple[DataSet, IssueLog]:
    log = IssueLog()
    data = open_data(DataSource(path=path, **source), split, log)
    return data, log


def cvat(folder: Path, text: str) -> Path:
    write_clip(folder)
    path = folder / "annotations.xml"
    path.write_text(text)
    return path


def test_cvat_moves_a_box_between_key_frames_and_keeps_the_last_one(tmp_path: Path) -> None:
    boxes = [
        cvat_box(2, (10, 10, 30, 40)),
        # CVAT's importer leaves out what is no key frame.
        cvat_box(3, (0, 0, 5, 5), keyframe=0),
        cvat_box(6, (18, 10, 38, 40), occluded=1),
    ]
    data, log = read(cvat(tmp_path, cvat_text(("car", boxes))))
    assert not log.counts
    assert data.classes == ("car",)
    assert data.frame_count == FRAMES
    found = boxes_by_frame(data)
    assert sorted(found) == list(range(2, FRAMES))
    assert found[4] == [14, 10, 34, 40]
    assert found[5] == [16, 10, 36, 40]
    assert found[FRAMES - 1] == [18, 10, 38, 40]
    assert data.flags.tolist() == [0] * 4 + [OCCLUDED] * 6
    assert set(data.tracks.tolist()) == {0}


def test_cvat_hides_an_object_from_an_outside_box_on(tmp_path: Path) -> None:
    boxes = [
        cvat_box(0, (10, 10, 30, 40)),
        cvat_box(4, (14, 10, 34, 40), outside=1),
        cvat_box(8, (20, 10, 40, 40)),
        cvat_box(9, (20, 10, 40, 40), outside=1),
    ]
    found = boxes_by_frame(read(cvat(tmp_path, cvat_text(("car", boxes))))[0])
    assert sorted(found) == [0, 1, 2, 3, 8]
    assert found[3] == [13, 10, 33, 40]


def test_cvat_frames_are_those_of_the_source_where_a_task_takes_every_nth(tmp_path: Path) -> None:
    boxes = [cvat_box(0, (10, 10, 30, 40)), cvat_box(6, (16, 10, 36, 40))]
    data, log = read(cvat(tmp_path, cvat_text(("car", boxes), step="step=3", stop=9)))
    assert not log.counts
    assert boxes_by_frame(data) == {
        0: [10, 10, 30, 40],
        3: [13, 10, 33, 40],
        6: [16, 10, 36, 40],
        9: [16, 10, 36, 40],
    }
    assert data.frame_count == 4


def test_cvat_rotates_about_the_centre_and_the_shorter_way(tmp_path: Path) -> None:
    boxes = [
        cvat_box(0, (10, 15, 50, 25), rotation=90),
        cvat_box(2, (10, 10, 30, 30), rotation=350),
        cvat_box(4, (10, 10, 30, 30), rotation=10),
    ]
    found = boxes_by_frame(read(cvat(tmp_path, cvat_text(("car", boxes))))[0])
    assert found[0] == [25, 0, 35, 40]
    assert found[3] == [10, 10, 30, 30]


@pytest.mark.parametrize(
    ("damage", "line", "message"),
    [
        (("</track>", ""), 13, "not well-formed XML"),
        (('xtl="10"', 'xtl="ten"'), 10, "xtl 'ten' is no number"),
        (('xtl="10"', 'xtl="nan"'), 10, "xtl 'nan' is no number"),
        (('frame="0"', 'frame="-1"'), 10, "frame '-1' is no whole number"),
        (("<annotations>", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>'), 2, "a DOCTYPE is not allowed"),
        (("<stop_frame>11", "<stop_frame>12"), 5, "stop_frame 12, but clip.mp4 has 12 frames"),
        (("<source>clip.mp4", "<source>other.mp4"), 5, "other.mp4 is not there"),
        (("<frame_filter>", "<frame_filter>each=2"), 5, "is not step=N"),
    ],
)
def test_a_broken_cvat_file_is_named_with_its_line(
    tmp_path: Path, damage: tuple[str, str], line: int, message: str
) -> None:
    text = cvat_text(("car", [cvat_box(0, (10, 10, 30, 40))]))
    _, log = read(cvat(tmp_path, text.replace(*damage)))
    issue = next(issue for issue in log if issue.fatal)
    assert (issue.line, issue.file.name) == (line, "annotations.xml")
    assert message in issue.detail


def test_cvat_shapes_that_are_no_boxes_are_counted(tmp_path: Path) -> None:
    polygon = '    <polygon frame="0" keyframe="1" outside="0" points="1,1;2,2;3,1"/>\n'
    _, log = read(cvat(tmp_path, cvat_text(("car", [cvat_box(0, (1, 1, 20, 20)), polygon]))))
    assert log.counts == {"other_shape": 1}


def test_label_studio_counts_from_1_in_percent_and_ends_after_a_disabled_entry(tmp_path: Path) -> None:
    write_clip(tmp_path)
    sequence = [studio_entry(1, 0), studio_entry(5, 50, enabled=False), studio_entry(9, 25)]
    path = write_studio(tmp_path / "export.json", studio_task(sequence))
    data, log = read(path)
    assert not log.counts
    found = boxes_by_frame(data)
    # A disabled entry is seen itself; the last enabled one stays.
    assert sorted(found) == [0, 1, 2, 3, 4, 8, 9, 10, 11]
    assert found[0] == [0, 12, 16, 36]
    assert found[2] == [16, 12, 32, 36]
    assert found[4] == [32, 12, 48, 36]
    assert found[11] == [16, 12, 32, 36]


def test_label_studio_rotates_about_the_corner(tmp_path: Path) -> None:
    write_clip(tmp_path)
    entry = studio_entry(1, 50, rotation=90, enabled=False)
    data, _ = read(write_studio(tmp_path / "export.json", studio_task([entry])))
    assert boxes_by_frame(data) == {0: [8, 12, 32, 28]}


def test_label_studio_frames_of_another_rate_are_scaled_and_reported(tmp_path: Path) -> None:
    write_clip(tmp_path)
    sequence = [studio_entry(1, 0), studio_entry(13, 50, enabled=False)]
    data, log = read(write_studio(tmp_path / "export.json", studio_task(sequence, count=2 * FRAMES)))
    assert log.counts == {"other_frame_rate": 1}
    assert sorted(boxes_by_frame(data)) == list(range(7))


def test_label_studio_takes_the_annotation_that_counts(tmp_path: Path) -> None:
    write_clip(tmp_path)
    task = studio_task([studio_entry(1, 0, enabled=False)])
    other = studio_task([studio_entry(2, 0, enabled=False)])["annotations"][0]
    true = task["annotations"][0] | {"ground_truth": True}
    task["annotations"] = [true, other, other | {"was_cancelled": True}]
    data, log = read(write_studio(tmp_path / "export.json", task))
    assert log.counts == {"repeated_entry": 1}
    assert sorted(boxes_by_frame(data)) == [0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": 0}, "frame 0 is no whole number from 1"),
        ({"x": "a"}, "x 'a' is no number"),
        ({"x": 1e300}, "x 1e+300 is no number"),
        ({"frame": 200}, "is none of the 12 labelled frames"),
    ],
)
def test_a_broken_label_studio_task_is_named_with_its_line(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    write_clip(tmp_path)
    write_clip(tmp_path, "good")
    good = studio_task([studio_entry(1, 0)], video="good.mp4")
    bad = studio_task([studio_entry(1, 0) | change])
    path = write_studio(tmp_path / "export.json", good, bad)
    line = path.read_text()[: path.read_text().index("0a1b2c3d")].count("\n") - 2
    _, log = read(path, val=("good",))
    issue = next(issue for issue in log if issue.fatal)
    assert message in issue.detail
    assert issue.line == line


def test_a_label_studio_file_that_is_cut_off_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text('[\n{"data": {"video": "a.mp4"},\n')
    _, log = read(tmp_path / "export.json")
    assert next(iter(log)).line == 3


def test_mot_counts_frames_and_pixels_from_1_and_ignores_what_does_not_count(tmp_path: Path) -> None:
    gt = tmp_path / "train/walk/gt"
    gt.mkdir(parents=True)
    (gt / "labels.txt").write_text("car\nperson\n")
    (gt / "gt.txt").write_text("1,4,11,6,20,30,1,2,1.0\n2,4,12,6,20,30,1,2,1.0\n2,5,1,1,9,9,0,1,0.5\n")
    (gt.parent / "seqinfo.ini").write_text("[Sequence]\nname=walk\nimDir=frames\nseqLength=3\n")
    for number in range(1, 4):
        write_image(gt.parent / f"frames/{number:06d}.jpg")
    data, log = read(tmp_path)
    assert not log.counts
    assert data.classes == ("car", "person")
    assert data.boxes.tolist() == [[10, 5, 30, 35], [11, 5, 31, 35], [0, 0, 9, 9]]
    assert data.tracks.tolist() == [4, 4, 5]
    assert data.labels.tolist() == [1, 1, 0]
    assert data.flags.tolist() == [0, 0, IGNORED]
    assert [data.frame_names[i] for i in range(3)] == ["000001.jpg", "000002.jpg", "000003.jpg"]


def test_mot_lines_without_a_class_are_of_one_class_and_may_lie_beside_a_video(tmp_path: Path) -> None:
    write_clip(tmp_path)
    (tmp_path / "clip.txt").write_text("3,-1,11,6,20,30,0.9,-1,-1,-1\n3,-1,21,6,20,30,0.9,-1,-1,-1\n")
    data, log = read(tmp_path / "clip.txt", classes=("dog",))
    assert not log.counts
    assert data.classes == ("dog",)
    assert data.frame_of_object.tolist() == [2, 2]
    assert data.tracks.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,1,1,5\n", "has 5 columns"),
        ("0,1,1,1,5,5,1,1,1\n", "frame must be a whole number from 1"),
        ("1,1,1,1,inf,5,1,1,1\n", "must be pixels"),
        ("1,1,1,1,5,5,1,99,1\n", "class 99 is none of 1 to 13"),
        ("1,x,1,1,5,5,1,1,1\n", "could not convert"),
        ("40,1,1,1,5,5,1,1,1\n", "is none of the 12 labelled frames"),
        ("1,1,1,1,5,5,1,1,1\n" * 2, "states frame 0 twice"),
    ],
)
def test_a_broken_mot_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    write_clip(tmp_path)
    (tmp_path / "clip.txt").write_text("\n" + text)
    _, log = read(tmp_path / "clip.txt")
    issue = next(issue for issue in log if issue.fatal)
    assert message in issue.detail
    assert issue.line == 1 + text.count("\n")


def yolo(root: Path, *, names: str = "names: [car, dog]") -> Path:
    for split, images in (("train", ("clip_000000", "clip_000001", "still")), ("val", ("other",))):
        for image in images:
            write_image(root / f"images/{split}/{image}.jpg")
        (root / f"labels/{split}").mkdir(parents=True)
    (root / "labels/train/clip_000001.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    (root / "labels/train/still.txt").write_text("0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n")
    (root / "labels/val/other.txt").write_text("0 0.5 0.5 1 1\n")
    (root / "data.yaml").write_text(f"path: /somewhere/else\ntrain: images/train\nval: images/val\n{names}\n")
    return root


def test_a_yolo_folder_has_frames_stills_and_its_own_split(tmp_path: Path) -> None:
    data, log = read(yolo(tmp_path))
    assert not log.counts
    assert data.classes == ("car", "dog")
    assert data.video_names == ("clip", "still.jpg")
    assert data.still.tolist() == [False, True]
    assert data.frame_count == 3
    assert data.boxes.tolist() == [[24, 12, 40, 36], [16, 12, 48, 36]]
    assert read(tmp_path, "val")[0].video_names == ("other.jpg",)


@pytest.mark.parametrize("text", ["2 0.5 0.5 0.1 0.1", "0 0.5 0.5 0.1", "0 1.5 0.5 0.1 0.1", "a b c d e"])
def test_a_broken_yolo_line_is_named(tmp_path: Path, text: str) -> None:
    root = yolo(tmp_path)
    (root / "labels/train/still.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{text}\n")
    _, log = read(root)
    assert [(issue.kind, issue.line, issue.file.name) for issue in log] == [("bad_record", 2, "still.txt")]


def test_a_broken_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    _, log = read(yolo(tmp_path, names="names: [car"))
    assert [(issue.kind, issue.line) for issue in log if issue.kind == "broken_file"] == [("broken_file", 5)]


def test_coco_folders_of_images_are_stills(tmp_path: Path) -> None:
    for place in ("train", "valid"):
        write_image(tmp_path / place / "a.jpg")
        content = {
            "categories": [{"id": 0, "name": "car"}],
            "images": [{"id": 0, "file_name": "a.jpg", "height": 48, "width": 64}],
            "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [1, 2, 10, 20]}],
        }
        write_json(tmp_path / place / "_annotations.coco.json", content)
    for split in ("train", "val"):
        data, log = read(tmp_path, split)
        assert not log.counts
        assert data.boxes.tolist() == [[1, 2, 11, 22]]
        assert data.still.tolist() == [True]
        assert data.path(0).is_file()


def test_videos_are_held_out_by_name_alone_and_one_at_least() -> None:
    names = [f"clip{number}" for number in range(20)]
    chosen = held_out(names, 0.1)
    assert len(chosen) == 2
    assert held_out(names[::-1], 0.1) == chosen
    assert len(held_out(names[:2], 0.01)) == 1
    assert held_out(names[:1], 0.5) == set()


def test_both_splits_have_the_same_classes_and_named_videos_are_held_out(tmp_path: Path) -> None:
    tasks = []
    for number, label in enumerate(("car", "dog", "cat")):
        write_clip(tmp_path, f"clip{number}")
        task = studio_task([studio_entry(1, 10)], video=f"clip{number}.mp4")
        task["annotations"][0]["result"][0]["value"]["labels"] = [label]
        tasks.append(task)
    path = write_studio(tmp_path / "export.json", *tasks)
    train, val = (read(path, split, val=("clip1",))[0] for split in ("train", "val"))
    assert train.classes == val.classes == ("car", "cat", "dog")
    assert (train.video_names, val.video_names) == (("clip0", "clip2"), ("clip1",))
    _, log = read(path, val=("clip9",))
    assert "no video is named 'clip9'" in next(iter(log)).detail


def test_a_short_file_cannot_ask_for_boxes_without_end(tmp_path: Path) -> None:
    media = Media(tmp_path, [f"{number}.jpg" for number in range(1000)], (48, 64))
    stays = Keyframe(frame=0, box=(1, 1, 20, 20), continues=True, line=3)
    tracks = [LabelledTrack("car", number, [stays]) for number in range(5)]
    labels = Labels(tmp_path, videos=[LabelledVideo("v", tmp_path, media, range(1000), tracks)])
    log = IssueLog()
    data_set(labels, "train", log, classes=None, share=0, most_boxes=2000)
    issue = next(iter(log))
    assert (issue.line, issue.detail) == (3, "video 'v' has more than 2000 boxes")

"""CocoVID files: mmtracking's format, with records in any order; every bad record is named with its line."""

from pathlib import Path
from typing import Any

import pytest
from data_folders import coco_content, write_coco, write_json
from hypothesis import given
from hypothesis import strategies as st

from selsa_training.data.formats.coco_vid import read_coco_vid
from selsa_training.data.formats.json_lines import record_lines
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import IGNORED, OCCLUDED, DataSet


def read(path: Path, log: IssueLog, **options: Any) -> DataSet:
    return read_coco_vid(path, path.parent, log, **options)


def test_records_are_put_in_order(tmp_path: Path) -> None:
    log = IssueLog()
    data = read(write_coco(tmp_path, coco_content()), log)
    assert not log.counts
    assert data.classes == ("dog", "cat")
    assert data.video_names == ("seven", "five", "stills/s.jpg")
    assert data.still.tolist() == [False, False, True]
    assert [data.frame_names[f] for f in data.frames_of(0)] == ["v7/0.jpg", "v7/1.jpg", "v7/2.jpg"]
    assert all(data.path(f).is_file() for f in range(data.frame_count))
    assert data.objects(0).boxes.tolist() == [[4, 6, 24, 36]]
    # Only the marked frames are keys, and the still, which is not marked, is one.
    assert [data.path(int(f)).name for f in data.training_keys()] == ["1.jpg", "1.jpg", "s.jpg"]


def test_crowds_are_ignored_objects(tmp_path: Path) -> None:
    data = read(write_coco(tmp_path, coco_content()), IssueLog())
    # The first annotation is of the first image, frame 2 of video 7.
    assert data.flags[data.objects(2).index].tolist() == [IGNORED | OCCLUDED]
    assert data.objects(2).ignored.tolist() == [True]


def test_all_frames_are_keys_where_none_is_marked(tmp_path: Path) -> None:
    content = coco_content()
    for image in content["images"]:
        image.pop("is_vid_train_frame", None)
    data = read(write_coco(tmp_path, content), IssueLog())
    # The frame whose only object is a crowd is trained as background, as published.
    assert len(data.training_keys()) == data.frame_count
    assert (data.learnable_objects() == 0).sum() == 1


def test_categories_are_matched_by_name_with_another_class_list(tmp_path: Path) -> None:
    path = write_coco(tmp_path, coco_content())
    data = read(path, IssueLog(), classes=("cat", "cow", "dog"))
    assert set(data.labels.tolist()) == {2}
    log = IssueLog()
    assert read(path, log, classes=("cow",)).object_count == 0
    assert log.counts["unknown_class"] == 7
    assert log.counts["empty_split"] == 1


@pytest.mark.parametrize(
    ("table", "index", "change", "kind"),
    [
        ("images", 1, {"id": 72}, "duplicate_id"),
        ("images", 1, {"frame_id": 2}, "duplicate_id"),
        ("images", 1, {"frame_id": None}, "bad_record"),
        ("images", 1, {"video_id": 8}, "missing_video"),
        ("images", 1, {"height": "48"}, "bad_record"),
        ("images", 1, {"height": 0}, "bad_record"),
        ("images", 1, {"file_name": "../secret.jpg"}, "bad_record"),
        ("images", 1, {"file_name": "/etc/passwd"}, "bad_record"),
        ("videos", 1, {"id": 7}, "duplicate_id"),
        ("videos", 1, {"name": "seven"}, "duplicate_id"),
        ("annotations", 3, {"id": 1000}, "duplicate_id"),
        ("annotations", 3, {"image_id": 12345}, "bad_record"),
        ("annotations", 3, {"bbox": [1, 2, 3]}, "bad_record"),
        ("annotations", 3, {"bbox": [1, 2, float("nan"), 4]}, "bad_record"),
        ("annotations", 3, {"bbox": [1, 2, 10**400, 4]}, "bad_record"),
        ("annotations", 3, {"bbox": [1, 2, 0, 4]}, "box_without_area"),
        ("annotations", 3, {"bbox": [100, 2, 5, 4]}, "box_outside_image"),
        ("annotations", 3, {"bbox": [50, 2, 50, 4]}, "box_clipped"),
        ("annotations", 3, {"category_id": 9}, "unknown_class"),
        ("annotations", 3, {"instance_id": "x"}, "bad_record"),
    ],
)
def test_a_bad_record_is_named_with_its_line(
    tmp_path: Path, table: str, index: int, change: dict[str, Any], kind: str
) -> None:
    content = coco_content()
    content[table][index] |= change
    path = write_json(tmp_path / "data.json", content)
    log = IssueLog()
    read(path, log)
    found = {(issue.kind, issue.line) for issue in log}
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if f'"{table}"' in text)
    assert (kind, line + 1 + index) in found


@pytest.mark.parametrize(
    ("text", "line"),
    [('{"images": [\n{]}', 2), ("[]", None), ("", 1), ('{"images": []}', None), ("[" * 100_000, None)],
)
def test_a_file_that_is_something_else_is_one_fatal_issue_or_more(
    tmp_path: Path, text: str, line: int | None
) -> None:
    path = tmp_path / "data.json"
    path.write_text(text)
    log = IssueLog()
    assert read(path, log).frame_count == 0
    first = next(iter(log))
    assert (first.kind, first.line) == ("broken_file", line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 100) | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(
    ["id", "video_id", "frame_id", "file_name", "height", "width", "image_id", "category_id", "bbox"]
)


@given(
    table=st.sampled_from(["images", "videos", "annotations", "categories"]),
    index=st.integers(0, 1),
    field=fields,
    value=json_values,
)
def test_no_value_in_any_field_crashes_the_reader(
    tmp_path_factory: pytest.TempPathFactory, table: str, index: int, field: str, value: object
) -> None:
    content = coco_content()
    content[table][index][field] = value
    path = write_json(tmp_path_factory.mktemp("coco") / "data.json", content)
    read(path, IssueLog())


def test_lines_of_records_are_found_for_any_json_layout() -> None:
    assert record_lines('{"a": 1, "b": [{"x": [1]}, {}]}', "b") == [1, 1]
    assert record_lines('{\n"b":\n [\n{"x":\n 1}\n,\n{}]}', "b") == [4, 7]
    assert record_lines('{"a": [\n1]}', "b") == []

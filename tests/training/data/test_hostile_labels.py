"""Whatever a label file holds, reading it ends with issues in the log, and never with another exception."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_files import cvat_box, cvat_text, studio_entry, studio_task, write_clip

from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.issues import IssueLog

TEXTS = {
    "clip.xml": cvat_text(("car", [cvat_box(0, (1, 2, 30, 40)), cvat_box(5, (2, 2, 9, 9), outside=1)])),
    "export.json": json.dumps([studio_task([studio_entry(1, 5), studio_entry(4, 9, enabled=False)])]),
    "clip.txt": "1,4,11,6,20,30,1,2,1.0\n2,4,12,6,20,30,1,2,1.0\n",
    "data.yaml": "path: .\ntrain: images/train\nval: [images/val]\nnames: {0: car, 1: dog}\n",
}
PIECES = st.sampled_from(
    [
        *'<,/0\n"\0é',
        "-1",
        "nan",
        "1e309",
        "null",
        "true",
        "[]",
        "{}",
        "[[",
        "&amp;",
        "\\u0000",
        "../..",
        "9" * 400,
        "x" * 5000,
        "<!DOCTYPE a>",
        "*a",
        "&a [*a]",
    ]
)
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), PIECES), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    write_clip(folder)
    (folder / "images/train").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", TEXTS)
@given(changes=CHANGES)
@settings(max_examples=150)
def test_a_damaged_label_file_is_refused_without_a_crash(
    folder: Path, name: str, changes: list[tuple[float, int, str]]
) -> None:
    text = TEXTS[name]
    for place, length, piece in changes:
        start = int(place * len(text))
        text = text[:start] + piece + text[start + length :]
    (folder / name).write_text(text, encoding="utf-8")
    log = IssueLog()
    for split in ("train", "val"):
        open_data(DataSource(path=folder / name), split, log)
    # Half of the videos are held out, and there is one at most.
    assert log.counts


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.binary(max_size=200))
@settings(max_examples=50)
def test_any_bytes_are_refused_without_a_crash(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(b"[" + data if name.endswith("json") else data)
    log = IssueLog()
    open_data(DataSource(path=folder / name), "train", log)
    assert log.fatal

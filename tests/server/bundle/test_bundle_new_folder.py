"""A folder appears complete or not at all."""

from pathlib import Path

import pytest

from selsa_bundle.files.new_folder import TargetTakenError, new_folder

MARKER = "marker"


def fill(folder: Path, text: str, *, overwrite: bool = False) -> None:
    with new_folder(folder, marker=MARKER, overwrite=overwrite) as part:
        (part / MARKER).write_text(text)


def test_it_is_there_when_the_block_has_ended(tmp_path: Path) -> None:
    fill(tmp_path / "deep" / "folder", "one")
    assert (tmp_path / "deep" / "folder" / MARKER).read_text() == "one"


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        new_folder(tmp_path / "folder", marker=MARKER, overwrite=False) as part,
    ):
        (part / MARKER).write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_the_older_one(tmp_path: Path) -> None:
    fill(tmp_path / "folder", "old")
    with pytest.raises(OSError, match="full"), new_folder(tmp_path / "folder", marker=MARKER, overwrite=True):
        raise OSError("full")
    assert (tmp_path / "folder" / MARKER).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("sync", [True, False])
def test_it_may_hold_folders(tmp_path: Path, sync: bool) -> None:
    with new_folder(tmp_path / "tree", marker=MARKER, overwrite=False, sync=sync) as part:
        (part / "inner" / "deep").mkdir(parents=True)
        (part / "inner" / "deep" / "file").write_text("here")
        (part / MARKER).touch()
    assert (tmp_path / "tree" / "inner" / "deep" / "file").read_text() == "here"


def test_only_a_folder_of_its_kind_is_replaced_and_only_if_asked(tmp_path: Path) -> None:
    fill(tmp_path / "folder", "old")
    with pytest.raises(TargetTakenError, match="--overwrite"):
        fill(tmp_path / "folder", "new")
    fill(tmp_path / "folder", "new", overwrite=True)
    assert (tmp_path / "folder" / MARKER).read_text() == "new"
    (tmp_path / "photos").mkdir()
    with pytest.raises(TargetTakenError, match="will not be replaced"):
        fill(tmp_path / "photos", "new", overwrite=True)

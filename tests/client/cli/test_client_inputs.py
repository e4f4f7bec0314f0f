"""Arguments become a list of videos, each with a name for messages and one for its results."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selsa_client.cli.inputs import find_inputs
from selsa_client.cli.results import result_path
from selsa_client.wire.address import without_secrets


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def addresses(*arguments):
    return [each.address for each in find_inputs(list(map(str, arguments)))]


def test_a_folder_gives_only_its_videos_sorted_by_name(tmp_path):
    touch(tmp_path, "b.mp4", "a.MKV", "notes.txt", ".hidden.mp4", "deeper/c.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert addresses(tmp_path) == [str(tmp_path / "a.MKV"), str(tmp_path / "b.mp4")]


def test_a_folder_without_videos_fails_in_its_turn(tmp_path):
    touch(tmp_path, "notes.txt")
    [each] = find_inputs([str(tmp_path)])
    assert "no video" in (each.problem or "")


def test_patterns_are_expanded_also_into_folders(tmp_path, monkeypatch):
    touch(tmp_path, "b.mp4", "a.mp4", "deep/er/c.mp4")
    monkeypatch.chdir(tmp_path)
    assert addresses("*.mp4") == ["a.mp4", "b.mp4"]
    assert addresses("**/*.mp4") == ["a.mp4", "b.mp4", str(Path("deep", "er", "c.mp4"))]
    assert addresses("no*.mp4") == ["no*.mp4"]


def test_any_name_can_be_a_file(tmp_path, monkeypatch):
    touch(tmp_path, "clip[1].mp4", "no extension", "rtsp:", "x*.mp4")
    monkeypatch.chdir(tmp_path)
    names = ["clip[1].mp4", "no extension", "rtsp:", "x*.mp4", "missing.mp4"]
    assert addresses(*names) == names
    assert {each.kind for each in find_inputs(names)} == {"file"}


@pytest.mark.parametrize(
    ("argument", "kind", "stem"),
    [
        ("-", "stdin", "stdin"),
        ("https://host/a/clip%20one.mp4?token=1", "web", "clip_one"),
        ("HTTP://host", "web", "host"),
        ("rtsp://user:secret@10.0.0.1:554/stream1", "rtsp", "stream1"),
        ("camera:0", "camera", "camera-0"),
        ("camera:/dev/video2", "camera", "camera-video2"),
    ],
)
def test_stdin_addresses_and_cameras_are_recognised_by_their_form(argument, kind, stem):
    [each] = find_inputs([argument])
    assert (each.kind, each.stem) == (kind, stem)
    assert "secret" not in each.name
    assert "token" not in each.name


@pytest.mark.parametrize("argument", ["ftp://host/a.mp4", "http://", "camera:", "file:///a.mp4"])
def test_an_unsupported_address_is_refused(argument):
    with pytest.raises(ValueError, match=r"camera|rtsp"):
        find_inputs([argument])


def test_stdin_cannot_be_given_twice():
    with pytest.raises(ValueError, match="stdin"):
        find_inputs(["-", "a.mp4", "-"])


@given(
    st.lists(st.sampled_from(["a/x.mp4", "b/x.mp4", "X.mkv", "x-2.mp4", "x-2-2.avi", "y.mp4"]), max_size=9)
)
def test_result_files_never_share_a_name(arguments):
    stems = [each.stem.casefold() for each in find_inputs(arguments)]
    assert len(set(stems)) == len(stems) == len(arguments)


@given(st.text())
def test_any_argument_is_an_input_or_refused_with_a_message(argument):
    try:
        found = find_inputs([argument])
    except ValueError as error:
        assert str(error)
    else:
        assert all(each.stem and "/" not in each.stem for each in found)


def test_the_folder_for_several_results_is_created(tmp_path):
    first, second = find_inputs(["a.mp4", "b/a.mp4"])
    folder = tmp_path / "results"
    paths = [result_path(folder, each, several=True, suffix=".ndjson") for each in (first, second)]
    assert paths == [folder / "a.ndjson", folder / "a-2.ndjson"]
    assert folder.is_dir()
    with pytest.raises(ValueError, match="one file"):
        result_path(tmp_path / "all.json", first, several=True, suffix=".ndjson")
    with pytest.raises(ValueError, match="does not exist"):
        result_path(tmp_path / "no" / "where", first, several=True, suffix=".ndjson")
    assert result_path(tmp_path / "one.json", first, several=False, suffix=".ndjson") == tmp_path / "one.json"
    assert result_path(folder, first, several=False, suffix=".ndjson") == folder / "a.ndjson"
    assert result_path(None, first, several=True, suffix=".ndjson") is None


def test_a_shown_address_has_no_secret():
    assert without_secrets("https://me:pw@h:1/p/q.mp4?sig=abc#x") == "https://h:1/p/q.mp4"


@pytest.mark.parametrize("argument", ["", "%06d.png", "%d.png"])
def test_a_folder_of_pictures_or_their_numbers_is_one_sequence(tmp_path, argument):
    touch(tmp_path, "000010.png", "000009.png", "notes.txt", ".hidden.png")
    [each] = find_inputs([str(tmp_path / argument)])
    assert (each.kind, each.stem) == ("pictures", tmp_path.name)
    assert [path.name for path in each.pictures] == ["000009.png", "000010.png"]


def test_a_named_picture_is_a_video_of_one_frame(tmp_path):
    touch(tmp_path, "a.JPG")
    [each] = find_inputs([str(tmp_path / "a.JPG")])
    assert (each.kind, each.stem, len(each.pictures)) == ("pictures", "a", 1)


def test_numbers_that_no_picture_has_fail_in_their_turn(tmp_path):
    [each] = find_inputs([str(tmp_path / "%06d.png")])
    assert "No file is named like" in (each.problem or "")

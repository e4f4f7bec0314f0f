"""Reading a .pth file runs no code from it, and reads the tensors of every harmless file."""

import pathlib
import pickle
import struct
import sys
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selsa_training.checkpoint.errors import CheckpointFileError
from selsa_training.published.file import read_pth

both_formats = pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "old"])


def write(path: Path, content: object, *, zip_format: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    return path


class Trap:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.fixture
def note_type() -> Iterator[Callable[[str, str, Any], Any]]:
    """Defines a type in a module that is there while pickling only, like mmcv's."""
    added: list[str] = []

    def define(module: str, name: str, value: Any) -> Any:
        parts = module.split(".")
        for index in range(1, len(parts) + 1):
            package = ".".join(parts[:index])
            if package not in sys.modules:
                sys.modules[package] = types.ModuleType(package)
                added.append(package)
        value.__module__, value.__qualname__ = module, name
        setattr(sys.modules[module], name, value)
        return value

    yield define
    for package in added:
        del sys.modules[package]


def touch(path: str) -> str:
    pathlib.Path(path).touch()
    return path


@both_formats
@pytest.mark.parametrize("place", ["meta", "state_dict", "optimizer", "top"])
@pytest.mark.parametrize("function", [open, exec, touch, __import__], ids=lambda function: function.__name__)
def test_a_file_that_would_run_something_is_refused_and_runs_nothing(
    tmp_path: Path, zip_format: bool, place: str, function: Callable[..., object]
) -> None:
    victim = tmp_path / "made by the file"
    argument = f"open({str(victim)!r}, 'w')" if function is exec else str(victim)
    trap = Trap(function, argument, "w") if function is open else Trap(function, argument)
    content = {"meta": {}, "state_dict": {"weight": torch.ones(3)}}
    file = write(
        tmp_path / "evil.pth",
        trap if place == "top" else content | {place: {"x": trap}},
        zip_format=zip_format,
    )
    with pytest.raises(CheckpointFileError, match=r"refused, it asks for .*; nothing of it was run"):
        read_pth(file)
    assert not victim.exists()


@both_formats
def test_a_trap_under_the_name_of_a_known_library_is_inert(
    tmp_path: Path, zip_format: bool, note_type: Callable[[str, str, Any], Any]
) -> None:
    victim = tmp_path / "made by the file"

    def spring(path: str) -> None:
        pathlib.Path(path).touch()

    trap = Trap(note_type("mmcv.runner.hooks", "spring", spring), str(victim))
    content = {"meta": {"hook_msgs": {"x": trap}}, "state_dict": {"weight": torch.ones(3)}}
    # The module stays importable: even then nothing of it may be looked up.
    loaded = read_pth(write(tmp_path / "evil.pth", content, zip_format=zip_format))
    assert isinstance(loaded, dict)
    assert torch.equal(loaded["state_dict"]["weight"], torch.ones(3))
    assert not victim.exists()


@both_formats
def test_the_system_modules_have_no_stand_in(tmp_path: Path, zip_format: bool) -> None:
    import os

    file = write(tmp_path / "evil.pth", {"meta": Trap(os.system, "true")}, zip_format=zip_format)
    with pytest.raises(CheckpointFileError, match="refused"):
        read_pth(file)


def test_every_pickle_of_the_old_format_is_guarded(tmp_path: Path) -> None:
    victim = tmp_path / "made by the file"
    trap = pickle.dumps(Trap(open, str(victim), "w"), protocol=2)
    contents: tuple[object, ...] = (0x1950A86A20F9469CFC6C, 1001, {}, {}, [])
    honest = [pickle.dumps(value, protocol=2) for value in contents]
    for index in range(1, 5):
        pickles = [*honest]
        pickles[index] = trap
        file = tmp_path / f"{index}.pth"
        file.write_bytes(b"".join(pickles))
        with pytest.raises(CheckpointFileError):
            read_pth(file)
    assert not victim.exists()


@both_formats
def test_the_notes_of_real_files_do_not_keep_their_tensors_from_loading(
    tmp_path: Path, zip_format: bool, note_type: Callable[[str, str, Any], Any]
) -> None:
    config_type = note_type("mmcv.utils.config", "ConfigDict", type("ConfigDict", (dict,), {}))
    config = config_type(model=config_type(type="SELSA"), lr=0.01)
    config.extra = 1
    state = OrderedDict(weight=torch.arange(6.0).reshape(2, 3))
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    content = {
        "meta": {
            "epoch": 7,
            "CLASSES": ("cat", "dog"),
            "config": config,
            "hook_msgs": {"best_score": np.float64(0.5), "counts": np.arange(3), "file": Path("a/b")},
            "seen": {1, 2},
        },
        "state_dict": state,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = read_pth(write(tmp_path / "file.pth", content, zip_format=zip_format))
    assert isinstance(loaded, dict)
    assert torch.equal(loaded["state_dict"]["weight"], state["weight"])
    assert loaded["meta"]["epoch"] == 7
    assert loaded["meta"]["CLASSES"] == ("cat", "dog")
    assert loaded["meta"]["config"]["model"]["type"] == "SELSA"


def test_numpys_old_module_names_are_notes_too(tmp_path: Path) -> None:
    file = write(
        tmp_path / "file.pth", {"meta": {"score": np.float32(1)}, "state_dict": {}}, zip_format=False
    )
    file.write_bytes(file.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in file.read_bytes()
    assert isinstance(read_pth(file), dict)


def test_allowing_notes_for_one_file_allows_nothing_afterwards(tmp_path: Path) -> None:
    file = write(tmp_path / "file.pth", {"meta": np.float64(1)}, zip_format=True)
    before = set(torch.serialization.get_safe_globals())
    read_pth(file)
    assert set(torch.serialization.get_safe_globals()) == before


@both_formats
def test_a_file_cut_off_anywhere_is_refused_with_one_sentence(tmp_path: Path, zip_format: bool) -> None:
    whole = write(tmp_path / "whole.pth", {"state_dict": {"w": torch.ones(64)}}, zip_format=zip_format)
    content = whole.read_bytes()
    cut = tmp_path / "cut.pth"
    for size in range(0, len(content) - 1, 7):
        cut.write_bytes(content[:size])
        with pytest.raises(CheckpointFileError) as caught:
            read_pth(cut)
        assert str(cut) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, I am a text file\n", "neither of torch's two formats"),
        (struct.pack("<Q", 2) + b'{"a":1}', "looks like a safetensors file"),
        (pickle.dumps({"a": 1}), "neither of torch's two formats"),
        (b"PK\x03\x04 and no zip", "damaged or incomplete"),
    ],
)
def test_a_file_that_is_not_a_pth_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "file.pth"
    file.write_bytes(content)
    with pytest.raises(CheckpointFileError, match=message):
        read_pth(file)


def test_another_zip_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointFileError, match=r"not one written by torch\.save"):
        read_pth(tmp_path / "file.pth")


def test_a_missing_file_and_a_folder_have_different_messages(tmp_path: Path) -> None:
    with pytest.raises(CheckpointFileError, match="No such file"):
        read_pth(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointFileError, match="Is a directory"):
        read_pth(tmp_path)

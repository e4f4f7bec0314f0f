"""A checkpoint is complete or absent, and is loaded only if every check passes."""

import json
import os
from pathlib import Path

import pytest
import torch

from selsa_bundle.files.new_folder import TargetTakenError
from selsa_training.checkpoint.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from selsa_training.checkpoint.errors import (
    CheckpointFileError,
    ChecksumMismatchError,
    TensorsError,
)
from selsa_training.checkpoint.names import published_name
from selsa_training.checkpoint.untrained import untrained_tensors
from selsa_training.config import CONFIGS
from selsa_training.model.tensor_shapes import expected_shapes

CONFIG = CONFIGS["r18-dc5"]
REFERENCE = Path(
    os.environ.get("SELSA_REFERENCE", Path(__file__).resolve().parents[4] / "shared" / "reference")
)


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return untrained_tensors(CONFIG, 1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, torch.Tensor]) -> Path:
    """One written checkpoint; tests that damage it work on hard links of its files."""
    folder = tmp_path_factory.mktemp("saved") / "r18"
    save_checkpoint(folder, CONFIG, tensors, "untrained")
    return folder


def linked(saved: Path, folder: Path) -> Path:
    folder.mkdir()
    for file in saved.iterdir():
        os.link(file, folder / file.name)
    return folder


def rewrite(path: Path, content: bytes) -> None:
    """New contents under the name, leaving other links to the old file alone."""
    path.unlink()
    path.write_bytes(content)


def test_a_checkpoint_is_loaded_bit_for_bit_as_saved(saved: Path, tensors: dict[str, torch.Tensor]) -> None:
    loaded = load_checkpoint(saved)
    assert isinstance(loaded, Checkpoint)
    assert loaded.config == CONFIG
    assert loaded.origin == "untrained"
    assert loaded.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor), name


def test_no_temporary_file_is_left_beside_the_checkpoint(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["r18"]
    assert sorted(path.name for path in saved.iterdir()) == ["checkpoint.json", "model.safetensors"]


def test_an_existing_target_is_refused_and_untouched(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(TargetTakenError, match="already exists"):
        save_checkpoint(tmp_path / "taken", CONFIG, tensors, "")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_overwriting_replaces_a_checkpoint_and_nothing_else(
    saved: Path, tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    folder = linked(saved, tmp_path / "old")
    other = {name: tensor + 1 for name, tensor in tensors.items()}
    save_checkpoint(folder, CONFIG, other, "newer", overwrite=True)
    assert load_checkpoint(folder).origin == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(TargetTakenError, match=r"has no checkpoint\.json"):
        save_checkpoint(tmp_path / "photos", CONFIG, tensors, "", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointFileError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "checkpoint", CONFIG, tensors, "")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_wrong_tensors_are_named_and_never_written(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    wrong = dict(tensors)
    del wrong["neck.conv.bias"]
    wrong["surplus"] = torch.zeros(1)
    wrong["rpn.conv.bias"] = torch.zeros(7)
    with pytest.raises(TensorsError) as caught:
        save_checkpoint(tmp_path / "new", CONFIG, wrong, "")
    assert "1 tensor unexpected: surplus" in str(caught.value)
    assert "1 tensor missing: neck.conv.bias" in str(caught.value)
    assert "rpn.conv.bias has shape [7], wanted [128]" in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((128,), torch.nan), "not finite: neck.conv.bias \\(128 of 128 values\\)"),
        (torch.zeros(128, dtype=torch.float16), "neck.conv.bias is torch.float16, wanted torch.float32"),
    ],
)
def test_values_that_cannot_be_weights_are_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], value: torch.Tensor, message: str
) -> None:
    with pytest.raises(TensorsError, match=message):
        save_checkpoint(tmp_path / "new", CONFIG, tensors | {"neck.conv.bias": value}, "")


def test_a_changed_byte_is_found(saved: Path, tmp_path: Path) -> None:
    folder = linked(saved, tmp_path / "damaged")
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    rewrite(path, bytes(content))
    with pytest.raises(ChecksumMismatchError, match="sha256"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format"),
        ({"version": 2}, "version"),
        ({"sha256": "short"}, "sha256"),
        ({"surprise": 1}, "surprise"),
        ({"config": {"name": "x", "backbone": "vgg"}}, "backbone"),
    ],
)
def test_a_manifest_value_that_is_not_allowed_is_named(
    saved: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    folder = linked(saved, tmp_path / "checkpoint")
    path = folder / "checkpoint.json"
    rewrite(path, json.dumps(json.loads(path.read_text()) | change).encode())
    with pytest.raises(CheckpointFileError, match=message):
        load_checkpoint(folder)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointFileError, match="is not a checkpoint"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointFileError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_weights_file_or_a_training_run_in_its_place_is_refused_with_the_next_step(tmp_path: Path) -> None:
    weights = tmp_path / "my.pth"
    weights.touch()
    with pytest.raises(
        CheckpointFileError, match=r"make a checkpoint of it with `selsa import .*my\.pth -o my`"
    ):
        load_checkpoint(weights)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "checkpoint.json").touch()
    with pytest.raises(CheckpointFileError, match="it is a training run; name its checkpoint, "):
        load_checkpoint(tmp_path)


def test_missing_tensors_file_is_named(saved: Path, tmp_path: Path) -> None:
    folder = linked(saved, tmp_path / "half")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointFileError, match=r"model\.safetensors"):
        load_checkpoint(folder)


def test_the_configuration_decides_which_tensors_fit(saved: Path, tmp_path: Path) -> None:
    folder = linked(saved, tmp_path / "other")
    path = folder / "checkpoint.json"
    document = json.loads(path.read_text())
    document["config"]["rpn_channels"] = 64
    rewrite(path, json.dumps(document).encode())
    with pytest.raises(
        TensorsError, match=r"rpn\.conv\.weight has shape \[128, 128, 3, 3\], wanted \[64, 128"
    ):
        load_checkpoint(folder)


@pytest.mark.reference
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_names_and_shapes_are_those_of_the_published_code(name: str) -> None:
    path = REFERENCE / f"keys_{name.removesuffix('-dc5')}.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    published = {key: (tuple(shape), dtype) for key, shape, dtype in json.loads(path.read_text())}
    ours = {
        published_name(key): (shape, "int64" if key.endswith("num_batches_tracked") else "float32")
        for key, shape in expected_shapes(CONFIGS[name]).items()
    }
    assert ours == published


@pytest.mark.parametrize(
    ("name", "tensors", "elements"),
    [
        ("r50-dc5", 350, 70_681_800),
        ("r101-dc5", 656, 89_726_203),
        ("x101-dc5", 656, 128_729_851),
    ],
)
def test_a_published_model_has_as_many_tensors_and_values(name: str, tensors: int, elements: int) -> None:
    shapes = expected_shapes(CONFIGS[name])
    assert len(shapes) == tensors
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == elements

"""Untrained weights are the same bits wherever and however they are made."""

import hashlib
from collections.abc import Mapping

import pytest
import torch
from published_state import published_state_dict

from selsa_training.checkpoint.untrained import untrained_tensors
from selsa_training.config import CONFIGS
from selsa_training.model.tensor_shapes import expected_shapes


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """sha256 over the published names, sorted, each followed by its tensor's bytes."""
    sha256 = hashlib.sha256()
    for name in sorted(state):
        sha256.update(name.encode())
        sha256.update(state[name].numpy().tobytes())
    return sha256.hexdigest()


@pytest.mark.parametrize(
    ("name", "seed", "expected"),
    [
        ("r18-dc5", 1, "6161fa790850b6275c33a19855f09df6d0b1afcd3dacc870cc91e59a85f36125"),
        ("r50-dc5", 0, "c249dff3f448a095acbe65d084ef751e8f65f5b7db0572496136d86a97e2a264"),
        ("r101-dc5", 0, "8d874f4df0b41980980578736ab2e65169526de1c920ae73039252c5e3bbd26e"),
        ("x101-dc5", 0, "1a25d5dd3fc83bd79e4c5a55a43661bc8c80bb6e43311fadbc84d47e0fea4418"),
    ],
)
def test_the_weights_are_those_the_reference_outputs_were_computed_with(
    name: str, seed: int, expected: str
) -> None:
    config = CONFIGS[name]
    assert digest(published_state_dict(config, untrained_tensors(config, seed))) == expected


def test_they_are_exactly_the_models_tensors() -> None:
    config = CONFIGS["r18-dc5"]
    tensors = untrained_tensors(config, 0)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == expected_shapes(config)
    for name, tensor in tensors.items():
        counter = name.endswith("num_batches_tracked")
        assert tensor.dtype == (torch.int64 if counter else torch.float32), name
        assert tensor.is_contiguous(), name


def test_another_seed_gives_other_weights() -> None:
    config = CONFIGS["r18-dc5"]
    one, two = untrained_tensors(config, 1), untrained_tensors(config, 2)
    same = [name for name in one if torch.equal(one[name], two[name])]
    assert all(name.endswith("num_batches_tracked") for name in same)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        untrained_tensors(CONFIGS["r18-dc5"], -1)

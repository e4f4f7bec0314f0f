"""The tensors alone say which model they are, and a model says which tensors it has."""

import pytest
import torch

from selsa_training.checkpoint.errors import TensorsError
from selsa_training.checkpoint.names import our_name, published_name
from selsa_training.checkpoint.tensor_check import check_names_and_shapes
from selsa_training.config import CONFIGS, HeadConfig, ModelConfig
from selsa_training.model.tensor_shapes import expected_shapes
from selsa_training.published.import_published import fitting_names
from selsa_training.published.recognise import recognise


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_named_configuration_is_recognised_exactly(name: str) -> None:
    assert recognise(expected_shapes(CONFIGS[name]), what="file") == CONFIGS[name]


def test_another_configuration_is_recognised_from_its_tensors() -> None:
    config = ModelConfig(
        name="resnet18-dc5",
        backbone="resnet18",
        neck_channels=64,
        rpn_channels=96,
        classes=("class_0", "class_1"),
        head=HeadConfig(width=128, heads=2, stages=3),
    )
    assert recognise(expected_shapes(config), what="file") == config


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_the_names_translate_there_and_back(name: str) -> None:
    ours = list(expected_shapes(CONFIGS[name]))
    published = [published_name(key) for key in ours]
    assert [our_name(key) for key in published] == ours
    assert len(set(published)) == len(published)


@pytest.mark.parametrize("name", ["r18-dc5", "r50-dc5", "x101-dc5"])
def test_any_single_missing_tensor_is_the_one_that_is_named(name: str) -> None:
    tensors = {
        key: torch.empty(shape, device="meta") for key, shape in expected_shapes(CONFIGS[name]).items()
    }
    for key in tensors:
        without = {other: tensor for other, tensor in tensors.items() if other != key}
        config = recognise({other: tuple(tensor.shape) for other, tensor in without.items()}, what="file")
        with pytest.raises(TensorsError) as caught:
            check_names_and_shapes(without, expected_shapes(config), what="file")
        assert str(caught.value) == f"file: 1 tensor missing: {key}"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("cat", "dog"), ("cat", "dog")),
        (["cat", "dog"], ("cat", "dog")),
        (("cat", "cat"), ("cat_0", "cat_1")),
        (("bow, tie", "a\x00b\n"), ("bow tie", "a b")),
        (("", "dog"), ("class_0", "dog")),
        (("cat",), None),
        ((1, 2), None),
        ("ab", None),
        (None, None),
    ],
)
def test_class_names_from_a_file_are_kept_where_they_fit(
    names: object, expected: tuple[str, ...] | None
) -> None:
    assert fitting_names(names, 2) == expected

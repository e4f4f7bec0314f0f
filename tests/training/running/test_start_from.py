"""A training starts from other weights: tensors by name and shape, classes by their names."""

from pathlib import Path

import numpy as np
import pytest
import torch

from selsa_bundle.default_bundle import synthetic_bundle
from selsa_training.checkpoint.checkpoint import save_checkpoint
from selsa_training.checkpoint.untrained import untrained_tensors
from selsa_training.config import CONFIGS, ModelConfig
from selsa_training.model.detector import build_detector
from selsa_training.model.torch_engines import TorchEngines
from selsa_training.recipe.errors import TrainingError
from selsa_training.running.start_from import read_weights, start_from
from selsa_training.running.starting_weights import initialise

R18 = CONFIGS["r18-dc5"]


def of_classes(config: ModelConfig, *classes: str) -> ModelConfig:
    return config.model_copy(update={"classes": classes})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "checkpoint"
    config = of_classes(R18, "cat", "dog", "car")
    save_checkpoint(folder, config, untrained_tensors(config, 2), "a test")
    return folder


def test_classes_are_matched_by_name_and_new_ones_initialised(checkpoint: Path) -> None:
    torch.manual_seed(0)
    detector = build_detector(of_classes(R18, "tree", "dog"))
    initialise(detector)
    fresh = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    source = read_weights(checkpoint)
    transfer = start_from(detector, source)
    own, theirs = detector.state_dict(), source.tensors
    assert torch.equal(own["neck.conv.weight"], theirs["neck.conv.weight"])
    assert torch.equal(own["backbone.bn1.running_var"], theirs["backbone.bn1.running_var"])
    scores, deltas = "predictor.classes.weight", "predictor.deltas.weight"
    # Class 1 is the source's class 1, the background its row 3, class 0 stays as it was.
    assert torch.equal(own[scores][1], theirs[scores][1])
    assert torch.equal(own[scores][2], theirs[scores][3])
    assert torch.equal(own[scores][0], fresh[scores][0])
    assert torch.equal(own[deltas][4:8], theirs[deltas][4:8])
    assert torch.equal(own[deltas][:4], fresh[deltas][:4])
    assert (transfer.classes_taken, transfer.classes_new) == (("dog",), ("tree",))
    assert transfer.initialised == ()
    assert transfer.left_out == ("class 'cat'", "class 'car'")
    assert "1 classes initialised: tree" in transfer.lines()


def test_a_tensor_of_another_shape_is_initialised_and_named(checkpoint: Path) -> None:
    anchors = R18.anchors.model_copy(update={"scales": (4.0, 8.0)})
    detector = build_detector(of_classes(R18, "dog").model_copy(update={"anchors": anchors}))
    transfer = start_from(detector, read_weights(checkpoint))
    assert set(transfer.initialised) == {
        f"rpn.{part}.{kind}" for part in ("objectness", "deltas") for kind in ("weight", "bias")
    }
    assert "rpn.objectness.bias (shape [12])" in transfer.left_out


def test_another_architecture_is_refused(checkpoint: Path) -> None:
    with pytest.raises(TrainingError, match="name a recipe of the same architecture"):
        start_from(build_detector(of_classes(CONFIGS["tiny"], "dog")), read_weights(checkpoint))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none of these: a checkpoint"):
        read_weights(tmp_path)


def test_the_weights_of_a_bundle_reproduce_its_model() -> None:
    from selsa_bundle.runtimes.load import load_engines

    source = read_weights(Path("synthetic"))
    detector = build_detector(of_classes(CONFIGS["tiny"], *source.classes)).eval()
    transfer = start_from(detector, source)
    assert (transfer.initialised, transfer.classes_new, transfer.left_out) == ((), (), ())
    ours = TorchEngines(detector)
    theirs = load_engines(synthetic_bundle()).engines
    frames = np.random.default_rng(0).integers(0, 256, (1, 192, 320, 3), np.uint8)
    size = np.array([[180, 320]])
    found, wanted = (engines.run_frames(frames, size) for engines in (ours, theirs))
    assert np.allclose(found.boxes, wanted.boxes, atol=1e-2)
    assert np.allclose(found.queries, wanted.queries, atol=1e-3)

"""A published file becomes our tensors exactly, or an error says which tensor is wrong."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_state import published_state_dict
from safetensors.torch import save_file

from selsa_bundle.classes import IMAGENET_VID
from selsa_training.checkpoint.errors import CheckpointError, CheckpointFileError, TensorsError
from selsa_training.checkpoint.untrained import untrained_tensors
from selsa_training.config import CONFIGS, ModelConfig
from selsa_training.model.tensor_shapes import Shape, expected_shapes
from selsa_training.published.import_published import import_published

State = OrderedDict[str, torch.Tensor]
R18 = CONFIGS["r18-dc5"]
META = {"epoch": 7, "mmtrack_version": "0.14.0", "CLASSES": IMAGENET_VID}
DETECTOR = "detector.roi_head.bbox_head"


def blank(shape: Shape, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Zeros of any shape that take four bytes in a file."""
    return torch.zeros((), dtype=dtype).expand(shape)


def blank_state(config: ModelConfig) -> State:
    tensors = {
        name: blank(shape, torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
        for name, shape in expected_shapes(config).items()
    }
    return published_state_dict(config, tensors)


def write(path: Path, content: object, *, zip_format: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    return path


def error_of(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        import_published(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "old"])
def test_a_published_file_comes_back_bit_for_bit(tmp_path: Path, zip_format: bool) -> None:
    tensors = untrained_tensors(R18, 1)
    file = write(
        tmp_path / "r18.pth",
        {"meta": META, "state_dict": published_state_dict(R18, tensors)},
        zip_format=zip_format,
    )
    config, imported, origin, _ = import_published(file)
    file.unlink()  # the tensors must not depend on it
    assert config == R18
    assert imported.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert imported[name].dtype == tensor.dtype
        assert torch.equal(imported[name], tensor), name
    assert "r18.pth" in origin
    assert "mmtracking 0.14.0" in origin
    assert "epoch 7" in origin


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"meta": META, "state_dict": state, "optimizer": {"state": {0: torch.ones(3)}}},
        lambda state: {"state_dict": OrderedDict((f"module.{key}", state[key]) for key in state)},
        lambda state: {"state_dict": {key: torch.nn.Parameter(state[key], False) for key in state}},
        lambda state: {"meta": None, "state_dict": state},
        lambda state: {"meta": {"CLASSES": 5, "epoch": [1], "time": "a\nb"}, "state_dict": state},
    ],
    ids=["bare", "no meta", "optimizer", "module.", "parameters", "meta None", "odd meta"],
)
def test_every_wrapping_of_the_tensors_is_read(tmp_path: Path, wrap: Callable[[State], object]) -> None:
    config, tensors, origin, _ = import_published(write(tmp_path / "file.pth", wrap(blank_state(R18))))
    assert config == R18
    assert tensors.keys() == expected_shapes(R18).keys()
    assert origin.isprintable()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    state = blank_state(R18)
    key = "detector.neck.convs.0.conv.bias"
    state[key] = torch.linspace(-2, 2, 128, dtype=dtype)
    _, tensors, _, _ = import_published(write(tmp_path / "file.pth", state))
    assert tensors["neck.conv.bias"].dtype == torch.float32
    assert torch.equal(tensors["neck.conv.bias"], state[key].to(torch.float32))


def test_missing_extra_and_misshapen_tensors_are_counted_and_named(tmp_path: Path) -> None:
    state = blank_state(R18)
    del state["detector.neck.convs.0.conv.bias"]
    for index in range(8):
        state[f"detector.extra.{index}"] = torch.zeros(1)
    state["detector.rpn_head.rpn_conv.weight"] = blank((128, 128, 5, 5))
    message = error_of(write(tmp_path / "file.pth", {"state_dict": state}))
    assert "not a SELSA checkpoint" in message
    assert "8 tensors unexpected: detector.extra.0, " in message
    assert "detector.extra.7" not in message
    assert "and 3 more" in message
    assert "1 tensor missing: detector.neck.convs.0.conv.bias" in message
    assert "detector.rpn_head.rpn_conv.weight has shape [128, 128, 5, 5], wanted [128, 128, 3, 3]" in message


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("detector.rpn_head.rpn_cls.weight", (9, 128, 1, 1), "9 anchors per position"),
        (f"{DETECTOR}.fc_cls.weight", (41, 256), "fc_cls.bias has shape"),
        (f"{DETECTOR}.fc_reg.weight", (4, 256), r"fc_reg.weight has shape \[4, 256\], wanted \[120, 256\]"),
        (f"{DETECTOR}.fc_reg.weight", (), r"fc_reg.weight has shape \[\]"),
        ("detector.backbone.layer4.1.conv2.weight", (512, 512, 1, 1), "layer4.1.conv2.weight has shape"),
    ],
)
def test_a_misshapen_tensor_is_named_with_both_shapes(
    tmp_path: Path, key: str, shape: Shape, message: str
) -> None:
    state = blank_state(R18)
    state[key] = blank(shape)
    with pytest.raises(TensorsError, match=message):
        import_published(write(tmp_path / "file.pth", state))


def test_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    state = blank_state(R18)
    state[f"{DETECTOR}.fc_cls.bias"] = torch.tensor([float("nan"), float("inf"), *([0.0] * 29)])
    message = error_of(write(tmp_path / "file.pth", state))
    assert f"1 tensor not finite: {DETECTOR}.fc_cls.bias (2 of 31 values)" in message


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    "change",
    [
        {"detector.neck.convs.0.conv.bias": torch.zeros(128, dtype=torch.int32)},
        {"detector.neck.convs.0.conv.bias": torch.zeros(128, dtype=torch.complex64)},
        {"detector.backbone.bn1.num_batches_tracked": torch.zeros(())},
        {"detector.neck.convs.0.conv.bias": torch.zeros(128).to_sparse()},
        {"detector.neck.convs.0.conv.bias": torch.empty(128, device="meta")},
        {"detector.neck.convs.0.conv.bias": [0.0] * 128},
    ],
    ids=["integer weights", "complex", "float counter", "sparse", "no values", "a list"],
)
def test_a_tensor_of_the_wrong_kind_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    message = error_of(write(tmp_path / "file.pth", blank_state(R18) | change))
    assert next(iter(change)) in message


def test_a_tensor_given_twice_is_refused(tmp_path: Path) -> None:
    state = blank_state(R18)
    state["module.detector.backbone.conv1.weight"] = state["detector.backbone.conv1.weight"]
    assert "occurs twice" in error_of(write(tmp_path / "file.pth", state))


@pytest.mark.parametrize(
    "extra",
    [
        "motion.flow_conv.weight",
        f"{DETECTOR}.aggregator.0.conv.weight",
        "detector.roi_head.bbox_roi_extractor.embed_network.conv.weight",
        "aggregator.convs.0.conv.weight",
    ],
)
def test_mmtrackings_other_models_are_not_taken_for_selsa(tmp_path: Path, extra: str) -> None:
    message = error_of(write(tmp_path / "file.pth", blank_state(R18) | {extra: torch.zeros(1)}))
    assert f"is not a SELSA checkpoint: 1 tensor unexpected: {extra}" in message


@pytest.mark.parametrize(
    "content", [{}, [], "text", {"state_dict": {}}, {"state_dict": 3}, {"meta": {}}, None]
)
def test_a_file_without_tensors_is_refused(tmp_path: Path, content: object) -> None:
    assert "checkpoint" in error_of(write(tmp_path / "file.pth", content))


def test_a_detector_of_another_kind_is_refused(tmp_path: Path) -> None:
    state = {"backbone.conv1.weight": torch.zeros(64, 3, 7, 7), "fc.weight": torch.zeros(10, 512)}
    assert "is not a SELSA checkpoint: it has none of" in error_of(write(tmp_path / "file.pth", state))


def test_a_safetensors_file_is_recognised_and_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "file.pth")
    with pytest.raises(CheckpointFileError, match="safetensors"):
        import_published(tmp_path / "file.pth")


def test_class_names_come_from_the_file_else_from_the_number_of_classes(tmp_path: Path) -> None:
    few = R18.model_copy(update={"classes": ("class_0", "class_1", "class_2")})
    state = blank_state(few)
    config, _, origin, _ = import_published(
        write(tmp_path / "named.pth", {"state_dict": state, "meta": {"CLASSES": ["cup", "pan", "knife"]}})
    )
    assert config.classes == ("cup", "pan", "knife")
    assert "class names from the file" in origin
    config, _, origin, _ = import_published(write(tmp_path / "unnamed.pth", state))
    assert config.classes == few.classes
    assert "class names assumed" in origin


def with_copies(tensors: dict[str, torch.Tensor]) -> State:
    """A state as mmcv's `EMAHook` leaves it: a copy of every parameter, here one higher."""
    state = published_state_dict(R18, tensors)
    copies = {
        f"ema_{name.replace('.', '_')}": tensor + 1
        for name, tensor in state.items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }
    return OrderedDict({**state, **copies})


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("ema", [False, True])
def test_averaged_copies_are_left_out_or_used_and_the_notes_name_the_choice(
    tmp_path: Path, ema: bool, prefix: str
) -> None:
    own = untrained_tensors(R18, 1)
    state = OrderedDict((prefix + name, tensor) for name, tensor in with_copies(own).items())
    _, tensors, origin, notes = import_published(write(tmp_path / "ema.pth", state), ema=ema)
    name, statistic = "neck.conv.weight", "backbone.bn1.running_var"
    assert torch.equal(tensors[name], own[name] + 1 if ema else own[name])
    assert torch.equal(tensors[statistic], own[statistic])
    (note,) = notes
    assert ("copies of" in note, ("left out" in note), note.startswith("ema_")) == (True, True, ema)
    assert note in origin


def test_missing_averaged_weights_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "plain.pth", published_state_dict(R18, untrained_tensors(R18, 1)))
    with pytest.raises(TensorsError, match="no averaged weights"):
        import_published(file, ema=True)
    state = with_copies(untrained_tensors(R18, 1))
    del state["ema_detector_neck_convs_0_conv_bias"]
    with pytest.raises(
        TensorsError, match=r"no averaged copy of 1 parameters: detector.neck.convs.0.conv.bias"
    ):
        import_published(write(tmp_path / "part.pth", state), ema=True)

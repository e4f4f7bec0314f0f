"""Every frame that can come has a profile, and the most special one is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selsa_bundle.contract import Dimensions, contract_for
from selsa_bundle.errors import EngineError
from selsa_bundle.preprocess import Preprocess
from selsa_bundle.tensorrt.library import ComputeCapability, import_tensorrt
from selsa_bundle.tensorrt.profiles import (
    Range,
    choose_profile,
    frame_profiles,
    sequence_profiles,
    tensor_bytes,
)

DIMS = Dimensions(proposals=300, width=1024, stages=2, detections=100)
PUBLISHED = Preprocess()
SMALL = Preprocess(long_side=320, short_side=192)


@given(
    preprocess=st.sampled_from([PUBLISHED, SMALL, Preprocess(long_side=64, short_side=64)]),
    height=st.integers(1, 9000),
    width=st.integers(1, 9000),
    batch=st.integers(1, 8),
)
def test_every_frame_size_and_batch_has_a_profile(
    preprocess: Preprocess, height: int, width: int, batch: int
) -> None:
    profiles = frame_profiles(preprocess, 8)
    h, w = preprocess.padded_size(*preprocess.resized_size(height, width))
    assert choose_profile(profiles, {"B": batch, "H": h, "W": w}) is not None


@pytest.mark.parametrize(
    ("batch", "height", "width", "name"),
    [
        (1, 576, 1008, "wide-1"),
        (8, 576, 1008, "wide-8"),
        (1, 1008, 576, "tall-1"),
        (5, 1008, 576, "tall-8"),
        (1, 16, 1008, "any-1"),
        (3, 112, 1008, "any-8"),
    ],
)
def test_a_frame_takes_the_profile_of_its_kind(batch: int, height: int, width: int, name: str) -> None:
    profiles = frame_profiles(PUBLISHED, 8)
    index = choose_profile(profiles, {"B": batch, "H": height, "W": width})
    assert index is not None
    assert profiles[index].name == name


def test_profiles_are_tuned_for_the_video_that_is_usual() -> None:
    wide = frame_profiles(PUBLISHED, 8)[1]
    assert (wide.sizes["B"].best, wide.sizes["H"].best, wide.sizes["W"].best) == (8, 576, 1008)


@given(references=st.integers(0, 64), batch=st.integers(1, 8))
def test_every_bank_has_a_profile_for_one_key_frame_at_least(references: int, batch: int) -> None:
    profiles = sequence_profiles(DIMS, 14, 8)
    rows = max(references, 1) * DIMS.proposals
    assert choose_profile(profiles, {"B": 1, "R": rows}) is not None
    assert (choose_profile(profiles, {"B": batch, "R": rows}) is not None) == (batch == 1 or references <= 30)


def test_the_memory_of_a_profile_is_that_of_its_largest_shapes() -> None:
    one, eight = frame_profiles(PUBLISHED, 8)[:2]
    sizes = tensor_bytes("frame", DIMS, eight)
    assert sizes["frames"] == 8 * 608 * 1008 * 3
    assert sizes["memory"] == 8 * 2 * 2 * 300 * 1024 * 4
    assert sizes["valid"] == 8 * 300
    assert sizes["image_size"] == 8 * 2 * 8
    contract = contract_for("frame", DIMS)
    assert set(sizes) == {spec.name for spec in (*contract.inputs, *contract.outputs)}
    assert tensor_bytes("frame", DIMS, one)["memory"] * 8 == sizes["memory"]


@pytest.mark.parametrize("bad", [(0, 1, 1), (2, 1, 3), (1, 4, 3)])
def test_a_range_rises(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        Range(*bad)


def test_a_batch_has_a_frame() -> None:
    with pytest.raises(ValueError, match="batch of 0 frames"):
        frame_profiles(PUBLISHED, 0)


@pytest.mark.parametrize(
    ("text", "name"),
    [("86", "sm86"), ("8.6", "sm86"), ("sm_120", "sm120"), ("SM89", "sm89"), ("12.1", "sm121")],
)
def test_a_compute_capability_is_read_as_people_write_it(text: str, name: str) -> None:
    assert str(ComputeCapability.parse(text)) == name


@pytest.mark.parametrize("text", ["", "8", "ampere", "sm", "8.6.1", "-86", "86a", "12345"])
def test_what_is_no_compute_capability_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is a number such as 86"):
        ComputeCapability.parse(text)


def test_without_any_tensorrt_one_sentence_says_what_to_install() -> None:
    with pytest.raises(EngineError, match=r"TensorRT is not installed; pip install 'selsa\[server-gpu\]'"):
        import_tensorrt(("selsa_no_such_package",))

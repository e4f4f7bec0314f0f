"""Frames are resized and padded as the published pipeline does."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selsa_bundle.preprocess import Preprocess


@pytest.mark.parametrize(
    ("source", "resized", "padded"),
    [((1080, 1920), (563, 1000), (576, 1008)), ((256, 340), (600, 797), (608, 800))],
)
def test_sizes_are_the_published_ones(
    source: tuple[int, int], resized: tuple[int, int], padded: tuple[int, int]
) -> None:
    preprocess = Preprocess()
    assert preprocess.resized_size(*source) == resized
    assert preprocess.padded_size(*resized) == padded


@given(st.integers(1, 6000), st.integers(1, 6000))
def test_every_size_fits_and_keeps_at_least_a_pixel(height: int, width: int) -> None:
    h, w = Preprocess().resized_size(height, width)
    assert 1 <= min(h, w) <= 600
    assert max(h, w) <= 1000


def test_the_padding_is_zero_and_the_rest_is_opencvs_resize() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (90, 170, 3), np.uint8)
    prepared = Preprocess().prepare(frame)
    height, width = prepared.image_size
    assert np.array_equal(prepared.pixels[:height, :width], cv2.resize(frame, (width, height)))
    assert not prepared.pixels[height:].any()
    assert not prepared.pixels[:, width:].any()
    assert prepared.scale_factor == (np.float32(width / 170), np.float32(height / 90))


@pytest.mark.parametrize(
    "frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_frame_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"uint8 \[h, w, 3\]"):
        Preprocess().prepare(frame)

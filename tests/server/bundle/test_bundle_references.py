"""The choice of reference frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selsa_bundle.references import OnlineReferences, spread_references


def test_the_published_clips_have_the_published_references() -> None:
    assert spread_references(8, 14) == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]
    arm = [0, 21, 43, 64, 86, 107, 129, 150, 172, 193, 215, 236, 258, 279]
    assert spread_references(280, 14) == arm


@given(st.integers(1, 100_000), st.integers(2, 64))
def test_references_ascend_from_the_first_frame_to_the_last(frames: int, count: int) -> None:
    chosen = spread_references(frames, count)
    assert len(chosen) == count
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0, frames - 1)


def test_one_reference_is_the_middle_frame_and_none_is_none() -> None:
    assert spread_references(9, 1) == [4]
    assert spread_references(9, 0) == []


@pytest.mark.parametrize(("frames", "count"), [(0, 14), (-1, 2), (5, -1)])
def test_a_clip_without_frames_has_no_references(frames: int, count: int) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        spread_references(frames, count)


@given(st.integers(1, 20), st.integers(1, 300))
def test_an_online_bank_covers_the_whole_past_evenly(capacity: int, frames: int) -> None:
    references = OnlineReferences(capacity=capacity)
    kept: set[int] = set()
    for position in range(frames):
        may_change = references.may_change_at(position)
        stays, leaving = references.offer(position)
        assert may_change or (stays, leaving) == (False, [])
        kept -= set(leaving)
        kept |= {position} if stays else set()
        assert len(kept) <= capacity
        # Every multiple of the stride so far, so the first frame always and half of the places at least.
        assert kept == set(range(0, position + 1, references.stride))
        assert len(kept) * 2 >= min(capacity, position + 1)


def test_an_online_bank_without_places_keeps_nothing() -> None:
    references = OnlineReferences(capacity=0)
    assert [references.offer(i) for i in range(3)] == [(False, [])] * 3

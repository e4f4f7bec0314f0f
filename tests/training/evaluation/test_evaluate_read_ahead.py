"""Reading ahead keeps the order, is bounded, and hides no error; a shortened data set is its beginning."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from evaluated import read_set, write_set

from selsa_training.evaluation.modes import read_ahead


def test_results_are_in_order_and_reading_ahead_is_bounded() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            asked.append(number)
            yield number

    results = read_ahead(lambda number: number * number, items(), workers=3, depth=4)
    for number in range(20):
        assert next(results) == number * number
        assert len(asked) <= number + 5
    assert next(results, None) is None


def test_an_error_is_raised_at_its_item() -> None:
    results = read_ahead(lambda number: 6 // number, [3, 2, 0, 1], workers=2, depth=4)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_the_first_videos_are_whole_and_the_same(tmp_path: Path) -> None:
    data = read_set(write_set(tmp_path / "set", clips=3, length=4))
    two = data.first(2)
    assert (two.video_count, two.frame_count) == (2, 8)
    assert two.object_count == data.first_object[8]
    for frame in range(8):
        assert two.path(frame) == data.path(frame)
        np.testing.assert_array_equal(two.objects(frame).boxes, data.objects(frame).boxes)
    assert data.first(3) is data

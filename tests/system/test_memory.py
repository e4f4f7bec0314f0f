"""Memory does not grow with the length of the video."""

from pathlib import Path

import pytest

from benchmarks.memory.memory_of_length import measure
from benchmarks.memory.thumbnail_bundle import make_bundle


@pytest.mark.slow
def test_a_video_ten_times_as_long_takes_no_more_memory(tmp_path: Path) -> None:
    short, long = measure(make_bundle(tmp_path), [100, 1000], (96, 72), references=2)
    assert long.local - short.local <= 60
    assert long.server - short.server <= 60

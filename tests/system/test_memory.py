"""Memory does not grow with the length of the video."""

from pathlib import Path

import pytest
from memory_of_length import make_bundle, measure


@pytest.mark.slow
def test_a_video_ten_times_as_long_takes_no_more_memory(tmp_path: Path) -> None:
    (_, short_local, short_server), (_, long_local, long_server) = measure(
        make_bundle(tmp_path), [200, 2000], (96, 72), references=2
    )
    assert long_local - short_local <= 60
    assert long_server - short_server <= 60

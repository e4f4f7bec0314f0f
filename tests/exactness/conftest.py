"""The clip as a lossless file, and what the published code found in it."""

from pathlib import Path

import pytest
from lossless import write_ffv1
from procedural_clip import CLIP_FRAMES, clip_frame
from published import EXPECTED, Published


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    return write_ffv1(path, map(clip_frame, range(CLIP_FRAMES)))


@pytest.fixture(scope="session")
def published() -> Published:
    return Published.read(EXPECTED / "r18_s1_procedural_b_adaptive.npz")

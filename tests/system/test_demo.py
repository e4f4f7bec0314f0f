"""The demo: one command from nothing to detections, with what comes with the package."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from selsa_server.bench.sample_video import write_sample_video

DOCS = Path(__file__).parents[2] / "docs"
FRAMES = 3


@pytest.fixture
def environment() -> dict[str, str]:
    """Where the demo finds `selsa` and its Python, and is sure to use the packaged bundle."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SELSA_BUNDLE": ""}


def test_the_demo_prints_a_line_for_each_frame_and_leaves_no_server(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    video = tmp_path / "a video.mp4"
    write_sample_video(video, FRAMES, width=320, height=180)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = subprocess.run(
        ["sh", DOCS / "demo.sh", str(port), video], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:3] for line in lines if " s   " in line] == [
        ["0", "0.00", "s"],
        ["1", "0.04", "s"],
        ["2", "0.08", "s"],
    ]
    assert lines[-1].startswith(f"{FRAMES} frames in ")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("records", ["", '{"type": "error", "status": 422}\n'])
def test_records_without_a_summary_are_a_failure(records: str) -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "readable_records.py"], input=records, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "the detections are incomplete\n"

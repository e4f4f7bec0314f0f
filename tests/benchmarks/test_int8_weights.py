"""The comparison of weights of 7 and 8 bits runs on any bundle."""

import json
import subprocess
import sys
from pathlib import Path

from selsa_bundle.default_bundle import synthetic_bundle

ROOT = Path(__file__).resolve().parents[2]


def test_there_is_a_row_for_each_way_to_run_the_frame_engine(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.speed.int8_weights", str(synthetic_bundle())]
    command += ["--rounds", "2", "--json", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    ((_, spent),) = json.loads(figures.read_bytes())["milliseconds"].items()
    ours = [f"ONNX Runtime, {way}" for way in ("fp32", "7 bits", "8 bits, x64quantprecision")]
    assert list(spent)[:3] == ours
    assert all(len(taken) == 2 for taken in spent.values())
    assert done.stdout.count("| ONNX Runtime, ") == 3

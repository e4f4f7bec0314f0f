"""The race between both kinds of graphs runs, and says what a bundle lacks."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]


def race(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.speed.native_graphs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture
def with_natives(tmp_path: Path) -> Path:
    """The packaged bundle, whose own graphs stand for native ones, too."""
    folder = Path(shutil.copytree(synthetic_bundle(), tmp_path / "bundle"))
    manifest = Manifest.read(folder)
    engines = {**manifest.engines, "native": manifest.engines["fp32"]}
    (folder / "manifest.json").write_bytes(manifest.model_copy(update={"engines": engines}).to_json())
    return folder


def test_there_is_a_row_for_each_engine_and_batch(with_natives: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = race(str(with_natives), "--batch", "1", "2", "--rounds", "2", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    rows = json.loads(figures.read_bytes())["rows"]
    assert [(row["engine"], row["batch"]) for row in rows] == [
        ("frame", 1),
        ("sequence", 1),
        ("frame", 2),
        ("sequence", 2),
    ]
    assert all(len(row["ratio"]["rounds"]) == 2 for row in rows)
    assert done.stdout.count("| frame engine |") == 2


def test_a_bundle_without_native_graphs_is_named() -> None:
    done = race(str(synthetic_bundle()))
    assert done.returncode == 1
    assert "has no native graphs; export it with --native fp32" in done.stderr

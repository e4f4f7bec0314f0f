"""The built page in the package is what its sources give."""

import shutil
import subprocess
from pathlib import Path

import pytest

import selsa_server

SOURCES = Path(__file__).parents[2] / "server" / "page"
BUILT = Path(selsa_server.__file__).parent / "page"


def npm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["npm", *arguments], cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources with their tools, where a build changes nothing of ours."""
    if shutil.which("npm") is None:
        pytest.skip("no node: whether the built page is that of its sources is not tested")
    folder = tmp_path / "page"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules"))
    installed = SOURCES / "node_modules"
    if installed.is_dir():
        (folder / "node_modules").symlink_to(installed)
    elif (done := npm(folder, "ci", "--no-audit", "--no-fund")).returncode != 0:
        pytest.skip(f"the page's tools cannot be had, so its build is not tested: {done.stderr[-300:]}")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_sources_give_the_committed_page(copy: Path, tmp_path: Path) -> None:
    target = tmp_path / "built"
    built = npm(copy, "run", "build", "--", "--outDir", str(target))
    assert built.returncode == 0, built.stdout + built.stderr
    assert files(target) == files(BUILT), "run `make page` and commit what it changes"

"""The built page in the package is what its sources give."""

import shutil
from pathlib import Path

from page_tools import SOURCES, npm

import selsa_server

BUILT = Path(selsa_server.__file__).parent / "page"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_sources_give_the_committed_page(page_tools: Path, tmp_path: Path) -> None:
    # A copy, so that the build changes no file of the repository.
    copy = tmp_path / "page"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("node_modules"))
    (copy / "node_modules").symlink_to(page_tools)
    target = tmp_path / "built"
    built = npm(copy, "run", "build", "--", "--outDir", str(target))
    assert built.returncode == 0, built.stdout + built.stderr
    assert files(target) == files(BUILT), "run `make page` and commit what it changes"

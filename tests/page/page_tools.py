"""The page's npm packages: from `server/page/node_modules`, or installed into a folder for the tests."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

__all__ = ["SOURCES", "npm", "page_tools"]

SOURCES = Path(__file__).parents[2] / "server" / "page"


def npm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["npm", *arguments], cwd=folder, capture_output=True, text=True, timeout=300)


@cache
def _installed() -> tuple[Path | None, str]:
    """The folder `node_modules`, or why there is none."""
    if (SOURCES / "node_modules" / "axe-core").is_dir():
        return SOURCES / "node_modules", ""
    if shutil.which("npm") is None:
        return None, "npm is not installed"
    folder = Path(mkdtemp(prefix="selsa-page-tools-"))
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, folder)
    done = npm(folder, "ci", "--no-audit", "--no-fund")
    return (folder / "node_modules", "") if done.returncode == 0 else (None, done.stderr[-300:])


def page_tools() -> Path:
    """The folder `node_modules`; skips the test if the tools cannot be installed."""
    found, why = _installed()
    if found is None:
        pytest.skip(f"the page's tools are not available, so this is not tested: {why}")
    return found

"""The page's npm packages: from `server/page/node_modules`, or installed into a folder for the tests."""

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["SOURCES", "installed_into", "npm"]

SOURCES = Path(__file__).parents[2] / "server" / "page"


def npm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["npm", *arguments], cwd=folder, capture_output=True, text=True, timeout=300)


def installed_into(folder: Path) -> Path:
    """`node_modules` of the sources, or a new one in `folder`; skips the test if npm cannot make it."""
    if (SOURCES / "node_modules" / "axe-core").is_dir():
        return SOURCES / "node_modules"
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, so this is not tested")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, folder)
    done = npm(folder, "ci", "--no-audit", "--no-fund")
    if done.returncode:
        pytest.skip(f"the page's tools are not available, so this is not tested: {done.stderr[-300:]}")
    return folder / "node_modules"

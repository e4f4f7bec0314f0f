"""The wheel that this tree gives is whole and of one version; `make release` proves the rest of it."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from wheel_contents import NEEDED, check_wheel

from release import PROMISED, ReleaseError, check_changelog, licences

ROOT = Path(__file__).parents[2]


def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, object] = tomllib.load(file)["project"]
    return found


NUMBER = str(project()["version"])


def build(target: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_the_packaged_bundle_the_page_and_the_recipes(wheel: Path) -> None:
    check_wheel(wheel, NUMBER)


def test_two_builds_of_one_tree_are_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert build("wheel", tmp_path).read_bytes() == wheel.read_bytes()


def without(wheel: Path, target: Path, left_out: Callable[[str], bool], extra: str = "") -> Path:
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            if not left_out(name):
                copy.writestr(name, source.read(name))
        if extra:
            copy.writestr(extra, "")
    return target


@pytest.mark.parametrize("missing", NEEDED)
def test_a_wheel_that_lacks_a_part_is_named(wheel: Path, tmp_path: Path, missing: str) -> None:
    cut = without(wheel, tmp_path / "cut.whl", lambda name: name == missing)
    with pytest.raises(ValueError, match=re.escape(missing)):
        check_wheel(cut, NUMBER)


@pytest.mark.parametrize(
    "foreign", ["work/runs/a.pt", "selsa_server/page/node_modules/x.js", "tests/conftest.py"]
)
def test_a_wheel_with_more_than_ours_is_named(wheel: Path, tmp_path: Path, foreign: str) -> None:
    with pytest.raises(ValueError, match="belongs to no package"):
        check_wheel(without(wheel, tmp_path / "more.whl", lambda _: False, foreign), NUMBER)


def test_a_wheel_of_another_version_is_named(wheel: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"pyproject.toml says {NUMBER}.post1")):
        check_wheel(wheel, f"{NUMBER}.post1")


def test_the_sdist_holds_the_sources_and_no_data(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as opened:
        names = [name.split("/", 1)[1] for name in opened.getnames()]
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= set(names)
    assert not [name for name in names if name.startswith((".", "work/", "dist/")) and name != ".gitignore"]
    assert not [name for name in names if "node_modules/" in name or "__pycache__/" in name]


def test_modules_of_the_wheel_are_told_from_others(wheel: Path, tmp_path: Path) -> None:
    """What `make release` runs in each environment says so when a module comes from somewhere else."""
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path)
    script = Path(__file__).parent / "imported.py"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script, "selsa_client"], env=environment, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert said["imported"] > 20
    assert said["failed"]["selsa_client"].startswith("comes from")


def test_every_extra_is_checked_at_a_release() -> None:
    extras = project()["optional-dependencies"]
    assert isinstance(extras, dict)
    checked = {extra for promised in PROMISED for extra in promised.split(",")} - {""}
    # [server-gpu] needs NVIDIA's own index, [dev] is everything else, and the others are not for users.
    assert set(extras) - checked == {"server-gpu", "dev", "pipeline", "serving"}


@pytest.mark.parametrize("text", ["## [Unreleased]\n", "## [1.2.3]\n", "## [11.2.3] - 2026-01-01\n"])
def test_a_final_release_needs_its_section_in_the_change_log(text: str) -> None:
    check_changelog(text, "1.2.3", final=False)
    with pytest.raises(ReleaseError, match=re.escape("[1.2.3]")):
        check_changelog(text, "1.2.3", final=True)
    check_changelog("## [1.2.3] - 2026-01-01\n" + text, "1.2.3", final=True)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (
            [{"license": {"id": "MIT"}}, {"license": {"name": "License :: OSI Approved :: MIT License"}}],
            "MIT",
        ),
        ([{"expression": "MIT OR Apache-2.0"}], "MIT OR Apache-2.0"),
        ([{"license": {"name": "Custom"}}], "Custom"),
        ([], "unknown"),
    ],
)
def test_a_licence_is_said_by_its_shortest_name(stated: list[dict[str, dict[str, str]]], said: str) -> None:
    assert licences({"licenses": stated}) == said

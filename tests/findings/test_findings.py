"""The scripts in findings/ are listed, state what they show and name files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))
PARTS = ("Versions:", "Behaviour:", "Seen", "A good guess is wrong", "Product:")
PLACE = re.compile(r"[\w./-]+/[\w.-]+\.(?:py|md)(?:::\w+)?")


def header(script: Path) -> str:
    """The comment at the top, as one line."""
    lines = script.read_text().partition("\nset -eu\n")[0].splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines[1:])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_header_states_versions_behaviour_what_was_seen_and_what_the_product_does(script: Path) -> None:
    text = header(script)
    assert [part for part in PARTS if part not in text] == []
    assert re.search(r"Ground: (runtimes|containers|evaluation|formats|serving|models|devices) ", text)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_files_and_tests_that_protect_the_product_exist(script: Path) -> None:
    for place in PLACE.findall(header(script).partition("Product:")[2]):
        path, _, test = place.partition("::")
        assert (ROOT / path).is_file(), place
        assert not test or f"def {test}(" in (ROOT / path).read_text(), place


def test_packages_are_pinned() -> None:
    for script in SCRIPTS:
        packages = re.findall(r"--disable-pip-version-check(.*?)\n\"\$env", script.read_text(), re.DOTALL)
        assert packages, script
        assert all("==" in package for package in packages[0].replace("\\", "").split()), script


def test_every_script_is_listed_once() -> None:
    listed = re.findall(
        r"^\| \[([\w-]+)\]\(\1\.sh\)", (ROOT / "findings" / "README.md").read_text(), re.MULTILINE
    )
    assert sorted(listed) == [script.stem for script in SCRIPTS]

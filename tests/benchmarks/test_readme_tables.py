"""benchmarks/README.md and README.md have the figures that were measured, and no others."""

import re
from pathlib import Path

import pytest

from benchmarks.report import readme_tables


@pytest.mark.parametrize("path", readme_tables.PAGES, ids=["benchmarks", "readme"])
def test_the_tables_of_the_page_are_those_of_the_figures(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    hint = f"{path} is behind its figures; run: python -m benchmarks.report.readme_tables"
    assert text == readme_tables.page(text), hint


def test_every_picture_of_a_figure_that_was_measured_is_there() -> None:
    text = readme_tables.PAGES[0].read_text(encoding="utf-8")
    pictures = re.findall(r"\]\((figures/[a-z0-9-]+\.png)\)", text)
    assert len(pictures) >= 5
    measured = [name for name in pictures if (readme_tables.FOLDER / name).with_suffix(".json").is_file()]
    assert [name for name in measured if not (readme_tables.FOLDER / name).is_file()] == []


def test_readme_is_short_and_every_link_of_it_leads_somewhere() -> None:
    readme = readme_tables.PAGES[1]
    text = readme.read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (readme.parent / link).exists()] == []

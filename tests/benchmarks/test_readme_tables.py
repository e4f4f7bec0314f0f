"""benchmarks/README.md has the figures that were measured, and no others."""

import re

import readme_tables


def test_the_tables_of_the_page_are_those_of_the_figures() -> None:
    text = readme_tables.PAGE.read_text(encoding="utf-8")
    hint = "benchmarks/README.md is behind its figures; run: python benchmarks/readme_tables.py"
    assert text == readme_tables.page(text), hint


def test_every_picture_of_a_figure_that_was_measured_is_there() -> None:
    text = readme_tables.PAGE.read_text(encoding="utf-8")
    pictures = re.findall(r"\]\((figures/[a-z0-9-]+\.png)\)", text)
    assert len(pictures) >= 5
    measured = [name for name in pictures if (readme_tables.FOLDER / name).with_suffix(".json").is_file()]
    assert [name for name in measured if not (readme_tables.FOLDER / name).is_file()] == []

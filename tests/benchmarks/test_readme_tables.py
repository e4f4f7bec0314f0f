"""benchmarks/README.md has the figures that were measured, and no others."""

from pathlib import Path

import readme_tables


def test_the_tables_of_the_page_are_those_of_the_figures() -> None:
    text = readme_tables.PAGE.read_text(encoding="utf-8")
    hint = "benchmarks/README.md is behind its figures; run: python benchmarks/readme_tables.py"
    assert text == readme_tables.page(text), hint


def test_every_picture_of_the_page_is_there() -> None:
    text = readme_tables.PAGE.read_text(encoding="utf-8")
    pictures = [part.split(")")[0] for part in text.split("](")[1:] if part.split(")")[0].endswith(".png")]
    assert pictures
    assert [name for name in pictures if not (Path(readme_tables.FOLDER) / name).is_file()] == []

"""The tables of seeds follow from the reports in docs/default-model."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("page", "made"), [("PAGE", "seeds_page"), ("README", "readme")])
def test_the_numbers_come_from_the_reports(page: str, made: str) -> None:
    code = (
        f"import sys, seeds_page as s; text = s.{page}.read_text(encoding='utf-8'); "
        f"sys.exit(s.{made}(text) != text)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "docs", capture_output=True, text=True)
    assert result.returncode == 0, result.stderr or f"{page} is behind the reports: python docs/seeds_page.py"

"""What is said of seeds is what the reports in docs/default-model/seeds give."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("path", "made"),
    [("docs/default-model/README.md", "s.seeds_page(s.PAGE"), ("README.md", "s.readme(s.README")],
)
def test_the_numbers_come_from_the_reports(path: str, made: str) -> None:
    code = f"import seeds_page as s; print({made}.read_text(encoding='utf-8')), end='')"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "docs", capture_output=True, text=True, check=True
    )
    hint = f"{path} is behind its reports; run: python docs/seeds_page.py"
    assert (ROOT / path).read_text(encoding="utf-8") == result.stdout, hint

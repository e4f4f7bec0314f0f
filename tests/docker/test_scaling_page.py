"""The tables of docs/scaling.md match its figures."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_sizes_are_computed_from_the_figures() -> None:
    code = "import scaling_page as s; print(s.scaling_page(s.PAGE.read_text(encoding='utf-8')), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=DOCS, capture_output=True, text=True, check=True)
    hint = "docs/scaling.md is behind its figures; run: python docs/scaling_page.py"
    assert (DOCS / "scaling.md").read_text(encoding="utf-8") == made.stdout, hint

"""docs/commands.md matches the help of the commands."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_of_commands_matches_the_commands() -> None:
    # In a process of its own: it imports every command, and other tests watch what is imported.
    code = "import command_page; print(command_page.command_page(), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=DOCS, capture_output=True, text=True, check=True)
    hint = "docs/commands.md is behind the commands; run: python docs/command_page.py"
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == made.stdout, hint

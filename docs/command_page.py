"""Writes docs/commands.md from the commands themselves: python docs/command_page.py

A test compares the page with what this makes, so that it cannot fall behind.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from selsa_client.cli.main import build_app

PAGE: Final = Path(__file__).with_name("commands.md")
HEAD: Final = """# Commands

Written by `python docs/command_page.py` from what `selsa COMMAND --help` says; a test keeps it true.

Exit codes of all commands: 0 done, 2 usage, 3 input, 4 server, 5 incomplete, 130 interrupted.
"""


def command_page() -> str:
    """The page, as it should be."""
    group = typer.main.get_command(build_app())
    root = group.make_context("selsa", [], resilient_parsing=True)
    sections = [HEAD]
    for name in group.list_commands(root):  # type: ignore[attr-defined]
        lazy = group.get_command(root, name)  # type: ignore[attr-defined]
        context = lazy.make_context(name, [], parent=root, resilient_parsing=True)
        sections.append("\n".join(_section(name, context)))
    return "\n".join(sections)


def _section(name: str, context: Any) -> Iterator[str]:
    command = context.command
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    pieces = [piece for each in shown for piece in each.get_usage_pieces(context)]
    yield f"## selsa {name}\n"
    yield f"```console\n$ {' '.join(['selsa', name, '[OPTIONS]', *pieces])}\n```\n"
    yield (command.help or "").strip() + "\n"
    rows = [_row(*record) for each in shown if (record := each.get_help_record(context))]
    if rows:
        yield "| | |\n|---|---|"
        yield from (row for row in rows if not row.startswith("| `-h"))
        yield ""


def _row(names: str, text: str) -> str:
    cells = (f"`{names}`", " ".join(text.split()))
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(f"{PAGE}\n")
    PAGE.write_text(command_page(), encoding="utf-8")

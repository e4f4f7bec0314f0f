"""Writes the tables of benchmarks/README.md and README.md: python -m benchmarks.report.readme_tables

What lies between `<!-- NAME TABLE -->` and `<!-- end -->` is made from figures/NAME.json. A test compares the
page with what this makes, so that no figure stands there that was not measured.
"""

import json
import re
import sys
from pathlib import Path

from benchmarks.report.markdown_tables import TABLES

FOLDER = Path(__file__).parents[1]
PAGES = (FOLDER / "README.md", FOLDER.parent / "README.md")
BLOCK = re.compile(r"(<!-- ([a-z0-9-]+) ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def page(text: str, figures: Path = FOLDER / "figures") -> str:
    """The page with its tables as they should be."""

    def block(found: "re.Match[str]") -> str:
        begin, name, table, end = found.groups()
        file = figures / f"{name}.json"
        if not file.is_file():
            return f"{begin}Not measured yet: `make figures`.\n{end}"
        report = json.loads(file.read_text(encoding="utf-8"))
        return "\n".join([begin.rstrip(), *TABLES[table](report), end])

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{path}\n")

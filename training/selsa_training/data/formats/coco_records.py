"""The tables of a COCO file as checked records with their place in the file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selsa_training.data.formats.json_lines import record_lines
from selsa_training.data.issues import IssueKind, IssueLog


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """A record, with the table it is from and its index there."""

    values: dict[str, Any]
    table: str
    index: int

    def __getitem__(self, field: str) -> Any:
        return self.values[field]

    def get(self, field: str, default: Any = None) -> Any:
        """A field's value, or the default if the record lacks it."""
        return self.values.get(field, default)


@dataclass(slots=True)
class Records:
    """A parsed file. Line numbers are computed only for issues."""

    path: Path
    log: IssueLog
    content: dict[str, Any]
    lines: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, log: IssueLog) -> "Records":
        """Read a file; one that cannot be read is logged and taken as empty."""
        try:
            text = path.read_text(encoding="utf-8")
            content = json.loads(text)
            if not isinstance(content, dict):
                raise TypeError(f"the file holds a {type(content).__name__}, not an object")
        except FileNotFoundError:
            log.add("missing_file", path, None, "the annotations")
        except json.JSONDecodeError as error:
            log.add("broken_file", path, error.lineno, f"not JSON: {error.msg}")
        except (OSError, UnicodeDecodeError, TypeError, RecursionError) as error:
            log.add("broken_file", path, None, f"not an annotation file: {error}")
        else:
            return cls(path, log, content)
        return cls(path, log, {})

    def table(self, name: str, needed: Mapping[str, type], *, required: bool = True) -> dict[int, Located]:
        """The records of a table by id; those that lack a field or repeat an id are logged and left out."""
        rows = self.content.get(name, [] if self.content and not required else None)
        if not isinstance(rows, list):
            if self.content:
                self.log.add("broken_file", self.path, None, f"has no list {name!r}")
            return {}
        found: dict[int, Located] = {}
        for index, values in enumerate(rows):
            row = Located(values if isinstance(values, dict) else {}, name, index)
            wrong = [
                f"{field} {row.get(field)!r} is not of type {kind.__name__}"
                for field, kind in needed.items()
                # bool is an int to Python, but no id.
                if not isinstance(row.get(field), kind) or isinstance(row.get(field), bool)
            ]
            if wrong:
                self.complain(row, ", ".join(wrong))
            elif row["id"] in found:
                self.complain(
                    row, f"id {row['id']} is taken by {name}[{found[row['id']].index}]", "duplicate_id"
                )
            else:
                found[row["id"]] = row
        return found

    def complain(self, row: Located, detail: str, kind: IssueKind = "bad_record") -> None:
        """Log an issue of a record."""
        self.log.add(kind, self.path, self.line(row), f"{row.table}[{row.index}]: {detail}"[:300])

    def line(self, row: Located) -> int | None:
        """The line on which a record begins."""
        if row.table not in self.lines:
            # Read the file again: keeping the text of a large file would double the memory.
            self.lines[row.table] = record_lines(self.path.read_text(encoding="utf-8"), row.table)
        lines = self.lines[row.table]
        return lines[row.index] if row.index < len(lines) else None

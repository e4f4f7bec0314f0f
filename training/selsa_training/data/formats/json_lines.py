"""JSON files with a record per line, and the lines of records in any JSON file: parsers do not say them."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

SPACE: Final = re.compile(r"[\s,]*")


def table_lines(tables: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The text of an object of arrays, a record per line, so that a line number means something."""
    for place, (name, rows) in enumerate(tables.items()):
        yield ("{" if not place else ",") + f'"{name}": [\n'
        yield ",\n".join(json.dumps(row) for row in rows)
        yield "\n]"
    yield "}\n"


def record_lines(text: str, array: str) -> list[int]:
    """1-based lines on which the elements of a top-level array begin, in order.

    Reads the text a second time, so it is for files in which something was found to be wrong.

    Args:
        text: a JSON object that parses.
        array: one of its keys, whose value is an array.

    Returns:
        A line per element; fewer, perhaps none, where the text is not laid out as expected.
    """
    return _lines_from(text, _value_of(text, array, json.JSONDecoder()))


def element_lines(text: str) -> list[int]:
    """1-based lines on which the elements of an array begin, in order; the text is that array."""
    return _lines_from(text, _skip(text, 0))


def _lines_from(text: str, position: int | None) -> list[int]:
    decoder = json.JSONDecoder()
    lines: list[int] = []
    if position is None or text[position] != "[":
        return lines
    position, line, counted = position + 1, 1, 0
    while True:
        position = _skip(text, position)
        if position >= len(text) or text[position] == "]":
            return lines
        line += text.count("\n", counted, position)
        counted = position
        lines.append(line)
        _, position = decoder.raw_decode(text, position)


def _value_of(text: str, key: str, decoder: json.JSONDecoder) -> int | None:
    """Where the value of a top-level key begins."""
    position = _skip(text, _skip(text, 0) + 1)
    while position < len(text) and text[position] == '"':
        name, position = decoder.raw_decode(text, position)
        position = _skip(text, text.index(":", position) + 1)
        if name == key:
            return position
        _, position = decoder.raw_decode(text, position)
        position = _skip(text, position)
    return None


def _skip(text: str, position: int) -> int:
    found = SPACE.match(text, position)
    return found.end() if found else position

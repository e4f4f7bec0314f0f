"""On which line of a JSON file a record stands: parsers do not say, and people need it."""

import json
import re
from typing import Final

SPACE: Final = re.compile(r"[\s,]*")


def record_lines(text: str, array: str) -> list[int]:
    """1-based lines on which the elements of a top-level array begin, in order.

    Reads the text a second time, so it is for files in which something was found to be wrong.

    Args:
        text: a JSON object that parses.
        array: one of its keys, whose value is an array.

    Returns:
        A line per element; fewer, perhaps none, where the text is not laid out as expected.
    """
    decoder = json.JSONDecoder()
    position = _value_of(text, array, decoder)
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

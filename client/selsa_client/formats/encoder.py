"""What every format is: records of one video in, in order, pieces of its file out."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import Box

# Given the records in order, the last being the summary; gives the bytes that each adds to the file.
Encode = Callable[[StreamRecord], Iterable[bytes]]


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8. Of a number that JSON has no word for, there is none in a record."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def corner_and_size(box: Box) -> list[float]:
    """x, y of the top left corner, width and height: the same pixels as the box, counted from 0.

    Rounded to a thousandth: subtraction adds digits that mean nothing.
    """
    return [round(each, 3) for each in (box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1)]

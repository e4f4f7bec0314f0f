"""Detections for people: reads the records that `selsa detect` prints, writes a line per frame.

selsa detect video.mp4 | python readable_records.py

Ends with status 1 when the records do not end with a summary.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any


def readable(lines: Iterable[str]) -> Iterator[str]:
    """A line of text for each record, which is a line of JSON.

    Raises:
        SystemExit: the last record is no summary.
    """
    kind = None
    for line in lines:
        record = json.loads(line)
        kind = record["type"]
        match kind:
            case "video":
                yield _video(record)
            case "frame":
                yield _frame(record)
            case "summary":
                rate = record["emitted"] / max(record["seconds"], 1e-9)
                yield f"{record['emitted']} frames in {record['seconds']:.2f} s, {rate:.0f} a second"
    if kind != "summary":
        raise SystemExit("the detections are incomplete")


def _video(record: dict[str, Any]) -> str:
    model = record["model"]
    return (
        f"{record['width']}x{record['height']} {record['codec']}, {record['frame_count']} frames; "
        f"{model['name']} on {model['provider']}, {record['mode']} mode\n"
        f"{'frame':>6} {'time':>8}   class score (corners in pixels)"
    )


def _frame(record: dict[str, Any]) -> str:
    found = "   ".join(_detection(each) for each in record["detections"])
    time = "" if record["time"] is None else f"{record['time']:6.2f} s"
    return f"{record['index']:6} {time:>8}   {found or '-'}"


def _detection(found: dict[str, Any]) -> str:
    x1, y1, x2, y2 = (round(found["box"][name]) for name in ("x1", "y1", "x2", "y2"))
    return f"{found['class_name']} {found['score']:.2f} ({x1},{y1} {x2},{y2})"


if __name__ == "__main__":
    for text in readable(sys.stdin):
        print(text, flush=True)  # noqa: T201

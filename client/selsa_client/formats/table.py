"""`csv`: a row per detection, under a row of names (RFC 4180, UTF-8)."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from selsa_client.formats.encoder import Encode
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import FrameRecord, VideoRecord

COLUMNS: Final = ("index", "pts", "time", "x1", "y1", "x2", "y2", "score", "class_id", "class_name")


def as_table() -> Encode:
    """Values as in the records; what a frame lacks is an empty cell. Without detections it has no row."""

    def encode(record: StreamRecord) -> Iterable[bytes]:
        match record:
            case VideoRecord():
                yield _rows([COLUMNS])
            case FrameRecord():
                yield _rows(_cells(record))

    return encode


def _cells(frame: FrameRecord) -> Iterable[tuple[object, ...]]:
    for each in frame.detections:
        box = each.box
        corners = (box.x1, box.y1, box.x2, box.y2)
        yield frame.index, frame.pts, frame.time, *corners, each.score, each.class_id, each.class_name


def _rows(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()

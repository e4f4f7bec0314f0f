"""Formats that are written record by record: `json`, `ndjson`, `csv`, `coco` and `mot`."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel

from selsa_client.formats.encoder import VIDEO_ID, Encode, check_tracked, corner_and_size, to_json
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import Box, FrameRecord, SummaryRecord, VideoRecord

COLUMNS: Final = (
    "index",
    "pts",
    "time",
    "x1",
    "y1",
    "x2",
    "y2",
    "score",
    "class_id",
    "class_name",
    "track_id",
)


def as_lines() -> Encode:
    """`ndjson`: the records of the wire format, one per line."""
    return lambda record: (_json(record) + b"\n",)


def as_document() -> Encode:
    """`json`: `{"video": ..., "frames": [...], "summary": ...}`, the server's `DetectionDocument`."""
    separator = b""

    def encode(record: StreamRecord) -> Iterable[bytes]:
        nonlocal separator
        match record:
            case VideoRecord():
                yield b'{"video":' + _json(record) + b',\n"frames":['
            case FrameRecord():
                yield separator + b"\n" + _json(record)
                separator = b","
            case SummaryRecord():
                yield b'],\n"summary":' + _json(record) + b"}\n"

    return encode


def as_table() -> Encode:
    """`csv`: a header, then one row per detection (RFC 4180, UTF-8). A missing value is an empty cell.

    `track_id` is empty without tracks, and for a detection without a track. With `fill` there is a last
    column `filled`, true or false.
    """
    filling = False

    def encode(record: StreamRecord) -> Iterable[bytes]:
        nonlocal filling
        match record:
            case VideoRecord():
                filling = record.fill is not None
                yield _rows([(*COLUMNS, "filled") if filling else COLUMNS])
            case FrameRecord():
                frame = (record.index, record.pts, record.time)
                last = (str(record.filled).lower(),) if filling else ()
                yield _rows(
                    (
                        *frame,
                        *_corners(each.box),
                        each.score,
                        each.class_id,
                        each.class_name,
                        each.track_id,
                        *last,
                    )
                    for each in record.detections
                )

    return encode


def as_coco() -> Encode:
    """`coco`: a list of results that `pycocotools` loads with `loadRes` for a CocoVID data set of the video.

    Ids start at 1, as in CocoVID files: `image_id` is the frame's index + 1, `category_id` the class's + 1.
    `frame_id` is CocoVID's own count of frames, from 0; `instance_id` is the object, with tracks. The results
    of a filled frame have `filled`, true.
    """
    separator = b"\n"

    def encode(record: StreamRecord) -> Iterable[bytes]:
        nonlocal separator
        match record:
            case VideoRecord():
                yield b"["
            case FrameRecord():
                for each in record.detections:
                    result: dict[str, object] = {
                        "image_id": record.index + 1,
                        "video_id": VIDEO_ID,
                        "frame_id": record.index,
                        "category_id": each.class_id + 1,
                        "bbox": corner_and_size(each.box),
                        "score": each.score,
                    }
                    if each.track_id is not None:
                        result["instance_id"] = each.track_id
                    if record.filled:
                        result["filled"] = True
                    yield separator + to_json(result)
                    separator = b",\n"
            case SummaryRecord():
                yield b"\n]\n"

    return encode


def as_mot() -> Encode:
    """`mot`: MOTChallenge's text for tracks, one detection per line, without classes.

    `frame, id, left, top, width, height, confidence, x, y, z`: frames, ids and pixels count from 1. There is
    no position in space, so x, y and z are -1. A detection without a track has no line. The format cannot say
    that a frame is filled.
    """

    def encode(record: StreamRecord) -> Iterable[bytes]:
        if isinstance(record, VideoRecord):
            check_tracked(record, "mot")
        elif isinstance(record, FrameRecord):
            for each in record.detections:
                if each.track_id is None:
                    continue
                left, top, width, height = corner_and_size(each.box)
                geometry = ",".join(f"{number:.3f}" for number in (left + 1, top + 1, width, height))
                yield f"{record.index + 1},{each.track_id},{geometry},{each.score:.6g},-1,-1,-1\n".encode()

    return encode


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x1, box.y1, box.x2, box.y2


def _json(record: BaseModel) -> bytes:
    return record.model_dump_json().encode()


def _rows(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()

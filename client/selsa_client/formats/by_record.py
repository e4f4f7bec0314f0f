"""Formats that are written record by record: `json`, `ndjson`, `csv`, `coco` and `mot`."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel

from selsa_client.formats.encoder import VIDEO_ID, Encode, corner_and_size, to_json
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord

COLUMNS: Final = ("index", "pts", "time", "x1", "y1", "x2", "y2", "score", "class_id", "class_name")


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
    """`csv`: a header, then one row per detection (RFC 4180, UTF-8). A missing value is an empty cell."""

    def encode(record: StreamRecord) -> Iterable[bytes]:
        match record:
            case VideoRecord():
                yield _rows([COLUMNS])
            case FrameRecord():
                frame = (record.index, record.pts, record.time)
                yield _rows(
                    (*frame, box.x1, box.y1, box.x2, box.y2, each.score, each.class_id, each.class_name)
                    for each in record.detections
                    for box in (each.box,)
                )

    return encode


def as_coco() -> Encode:
    """`coco`: a list of results that `pycocotools` loads with `loadRes` for a CocoVID data set of the video.

    Ids start at 1, as in CocoVID files: `image_id` is the frame's index + 1, `category_id` the class's + 1.
    `frame_id` is CocoVID's own count of frames, from 0.
    """
    separator = b"\n"

    def encode(record: StreamRecord) -> Iterable[bytes]:
        nonlocal separator
        match record:
            case VideoRecord():
                yield b"["
            case FrameRecord():
                for each in record.detections:
                    result = {
                        "image_id": record.index + 1,
                        "video_id": VIDEO_ID,
                        "frame_id": record.index,
                        "category_id": each.class_id + 1,
                        "bbox": corner_and_size(each.box),
                        "score": each.score,
                    }
                    yield separator + to_json(result)
                    separator = b",\n"
            case SummaryRecord():
                yield b"\n]\n"

    return encode


def as_mot() -> Encode:
    """`mot`: MOTChallenge's text for detections, one per line, without classes.

    `frame, id, left, top, width, height, confidence, x, y, z`: frames and pixels count from 1. Detections
    have no track and no position in space, so id, x, y and z are -1, as in the benchmark's `det.txt`.
    """

    def encode(record: StreamRecord) -> Iterable[bytes]:
        if isinstance(record, FrameRecord):
            for each in record.detections:
                left, top, width, height = corner_and_size(each.box)
                geometry = ",".join(f"{number:.3f}" for number in (left + 1, top + 1, width, height))
                yield f"{record.index + 1},-1,{geometry},{each.score:.6g},-1,-1,-1\n".encode()

    return encode


def _json(record: BaseModel) -> bytes:
    return record.model_dump_json().encode()


def _rows(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()

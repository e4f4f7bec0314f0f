"""Shared by all formats: an encoder turns the records of one video into pieces of its file."""

import json
from collections.abc import Callable, Iterable
from tempfile import SpooledTemporaryFile
from typing import Any, Final

from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import Box, FrameRecord, SummaryRecord, VideoRecord

# Takes the records in order, the summary last; returns the bytes that each adds to the file.
Encode = Callable[[StreamRecord], Iterable[bytes]]

# A file holds the results of one video.
VIDEO_ID: Final = 1
# Bytes of records that stay in memory while they wait for the summary.
IN_MEMORY: Final = 1 << 20


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8; fails for NaN and infinity, which JSON cannot represent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def corner_and_size(box: Box) -> list[float]:
    """x and y of the top left corner, width, height; pixels from 0, rounded to 1/1000 pixel."""
    return [round(each, 3) for each in (box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1)]


def check_tracked(video: VideoRecord, name: str) -> None:
    """Refuse records without tracks for a format that needs them.

    Raises:
        ValueError: the records have no tracks.
    """
    if video.look_ahead is None:
        raise ValueError(f"{name} needs the numbers of objects; detect with tracks=true (--tracks true)")


def resolved(encode: Encode) -> Encode:
    """An encoder that, with tracks, passes frames with their aliases applied to `encode`.

    Only the summary states which tracks are one object, so the frames wait on disk until it arrives.
    """
    waiting: SpooledTemporaryFile[bytes] | None = None
    kind: type[FrameRecord] = FrameRecord

    def encode_resolved(record: StreamRecord) -> Iterable[bytes]:
        nonlocal waiting, kind
        match record:
            case VideoRecord():
                if record.look_ahead is not None:
                    waiting = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  closed below, or with its encoder
            case FrameRecord() if waiting is not None:
                kind = type(record)
                waiting.write(record.model_dump_json().encode() + b"\n")
                return
            case SummaryRecord() if waiting is not None:
                waiting.seek(0)
                for line in waiting:
                    yield from encode(kind.model_validate_json(line).with_aliases(record.aliases or {}))
                waiting.close()
        yield from encode(record)

    return encode_resolved

"""Shared by all formats: an encoder turns the records of one video into pieces of its file."""

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import Box, VideoRecord
from selsa_server.schema.resolved import Resolver

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
    """The same encoder; with tracks, it gets the frames after the summary's aliases were applied to them."""
    resolver = Resolver()

    def encode_resolved(record: StreamRecord) -> Iterable[bytes]:
        for each in resolver.add(record):
            yield from encode(each)

    return encode_resolved

"""`json` and `ndjson`: the records as the wire has them, as one document or one per line."""

from collections.abc import Iterable

from pydantic import BaseModel

from selsa_client.formats.encoder import Encode
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord


def as_lines() -> Encode:
    """One record per line."""
    return lambda record: (_json(record) + b"\n",)


def as_document() -> Encode:
    """`{"video": ..., "frames": [...], "summary": ...}`, the server's `DetectionDocument`."""
    separator = b""

    def encode(record: StreamRecord) -> Iterable[bytes]:
        nonlocal separator
        match record:
            case VideoRecord():
                yield b'{"video":' + _json(record) + b',\n"frames":['
            case FrameRecord():
                before, separator = separator, b","
                yield before + b"\n" + _json(record)
            case SummaryRecord():
                yield b'],\n"summary":' + _json(record) + b"}\n"

    return encode


def _json(record: BaseModel) -> bytes:
    return record.model_dump_json().encode()

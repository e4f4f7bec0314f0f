"""Files with tracks: the aliases in the summary are applied to all frames.

Only the summary states which tracks are one object, so the records wait on disk until it arrives.
"""

from collections.abc import Iterable
from tempfile import SpooledTemporaryFile

from selsa_client.formats.encoder import Encode
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord

# Bytes of records that stay in memory.
IN_MEMORY = 1 << 20


def resolved(encode: Encode) -> Encode:
    """An encoder that, with tracks, passes frames with their aliases applied to `encode`."""
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

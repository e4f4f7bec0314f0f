"""`parquet`: a row per detection, for pandas, Polars, DuckDB and Spark. Needs pyarrow.

The columns are those of `csv`. A file can be read only when its last row is written.
"""

import io
from collections.abc import Iterable
from typing import Any, Final

from selsa_client.formats.encoder import Encode
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord

ROWS_AT_ONCE: Final = 16_384


def as_parquet() -> Encode:
    """Rows are written in groups of `ROWS_AT_ONCE`; memory holds one group."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = pyarrow.schema(
        [
            ("index", pyarrow.int64()),
            ("pts", pyarrow.int64()),
            ("time", pyarrow.float64()),
            *((name, pyarrow.float64()) for name in ("x1", "y1", "x2", "y2", "score")),
            ("class_id", pyarrow.int32()),
            ("class_name", pyarrow.string()),
            ("track_id", pyarrow.int64()),
        ]
    )
    pieces = _Pieces()
    rows: list[dict[str, Any]] = []
    writer: Any = None

    def flush() -> None:
        writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        rows.clear()

    def encode(record: StreamRecord) -> Iterable[bytes]:
        nonlocal writer, schema
        match record:
            case VideoRecord():
                about = {"selsa.video": record.model_dump_json()}
                if record.fill is not None:
                    schema = schema.append(pyarrow.field("filled", pyarrow.bool_()))
                writer = ParquetWriter(pieces, schema.with_metadata(about), compression="zstd")
            case FrameRecord():
                rows.extend(_rows(record))
                if len(rows) >= ROWS_AT_ONCE:
                    flush()
            case SummaryRecord():
                flush()
                writer.close()
        yield from pieces.taken()

    return encode


def _rows(record: FrameRecord) -> Iterable[dict[str, Any]]:
    for each in record.detections:
        yield {
            "index": record.index,
            "pts": record.pts,
            "time": record.time,
            **each.box.model_dump(),
            "score": each.score,
            "class_id": each.class_id,
            "class_name": each.class_name,
            "track_id": each.track_id,
            "filled": record.filled,
        }


class _Pieces(io.RawIOBase):
    """A file that gives away what is written to it."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._held.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def taken(self) -> list[bytes]:
        """What was written since the last call."""
        held, self._held = self._held, []
        return held

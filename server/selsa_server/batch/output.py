"""The results of `selsa batch`: each is written atomically, and a restart finds the existing ones."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema.resolved import Resolver

ResultFormat = Literal["ndjson", "parquet"]
BatchRecord = VideoRecord | FrameRecord | SummaryRecord
MANIFEST: Final = "batch.json"
REPORT: Final = "report.json"
# Rows that wait in memory to become a row group.
GROUP_ROWS: Final = 20_000


class OutputError(Exception):
    """The folder cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutput:
    """A folder at a path or fsspec address; its files are complete even if a writer was killed."""

    address: str
    format: ResultFormat

    def path(self, name: str) -> str:
        """Where the result of that name is, relative to the folder."""
        return f"{name}.{self.format}"

    def done(self) -> frozenset[str]:
        """Existing results, as `path` names them."""
        files, root = self._open()
        found = files.find(root) if files.exists(root) else []
        below = len(root.rstrip("/")) + 1
        return frozenset(path[below:] for path in found if path.endswith(f".{self.format}"))

    def has(self, name: str) -> bool:
        """Whether the result of that name exists."""
        files, root = self._open()
        return bool(files.exists(f"{root}/{self.path(name)}"))

    def write(self, name: str, records: Iterable[BatchRecord]) -> None:
        """Write a result from its records, whose aliases are applied. If they raise, no result is written."""
        write = _write_ndjson if self.format == "ndjson" else _write_parquet
        resolver = Resolver()
        resolved = (each for record in records for each in resolver.add(record))
        self._put(self.path(name), lambda path: write(path, resolved))

    def manifest(self) -> dict[str, Any] | None:
        """Bundle, parameters and format of the results; None in a new folder."""
        files, root = self._open()
        try:
            found: dict[str, Any] = orjson.loads(files.cat_file(f"{root}/{MANIFEST}"))
        except FileNotFoundError:
            return None
        return found

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest."""
        self._put(MANIFEST, lambda path: _write_json(path, manifest))

    def write_report(self, report: dict[str, Any]) -> None:
        """Write the report."""
        self._put(REPORT, lambda path: _write_json(path, report))

    def _open(self) -> tuple[Any, str]:
        import fsspec.core

        files, root = fsspec.core.url_to_fs(self.address, use_listings_cache=False)
        return files, root.rstrip("/")

    def _put(self, relative: str, write: Callable[[Path], None]) -> None:
        from fsspec.implementations.local import LocalFileSystem

        files, root = self._open()
        if isinstance(files, LocalFileSystem):
            target = Path(root) / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            _replace(target, write)
            return
        # A store shows an object only when it is complete.
        with tempfile.TemporaryDirectory(prefix="selsa-batch-") as folder:
            path = Path(folder) / "result"
            write(path)
            files.put_file(str(path), f"{root}/{relative}")


def open_output(address: str, result_format: ResultFormat, manifest: dict[str, Any]) -> BatchOutput:
    """The folder for the results that `manifest` describes.

    Raises:
        OutputError: it has results of something else, or cannot be written.
    """
    output = BatchOutput(address=address, format=result_format)
    try:
        found = output.manifest()
        if found is None:
            output.write_manifest(manifest)
    except ImportError as error:
        raise OutputError(f"{address} needs a package that is missing: {error.name or error}") from error
    except Exception as error:  # exception types depend on the driver
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise OutputError(f"{address} cannot be written: {reason}") from error
    if found is not None and found != manifest:
        other = sorted(key for key in manifest.keys() | found.keys() if manifest.get(key) != found.get(key))
        raise OutputError(f"{address} has results of another {' and '.join(other)}; name another folder")
    return output


def _replace(target: Path, write: Callable[[Path], None]) -> None:
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        write(part)
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")


def _write_ndjson(path: Path, records: Iterable[BatchRecord]) -> None:
    with path.open("wb") as file:
        file.writelines(record.model_dump_json().encode() + b"\n" for record in records)


def _write_parquet(path: Path, records: Iterable[BatchRecord]) -> None:
    """One row per detection, and one without a class for each frame without any.

    The first and the last record are JSON in the file's metadata, `selsa.video` and `selsa.summary`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("index", pa.int64()),
            ("pts", pa.int64()),
            ("time", pa.float64()),
            ("class_id", pa.int32()),
            ("class_name", pa.string()),
            ("score", pa.float32()),
            *((edge, pa.float32()) for edge in ("x1", "y1", "x2", "y2")),
            ("track_id", pa.int64()),
            ("filled", pa.bool_()),
        ]
    )
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema) as writer:
        for record in records:
            if isinstance(record, FrameRecord):
                rows += _rows(record)
            else:
                name = f"selsa.{record.type}"
                writer.add_key_value_metadata({name: record.model_dump_json()})
            if len(rows) >= GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))


def _rows(frame: FrameRecord) -> list[dict[str, Any]]:
    of_frame = {"index": frame.index, "pts": frame.pts, "time": frame.time, "filled": frame.filled}
    if not frame.detections:
        return [of_frame]
    return [
        of_frame
        | {"class_id": each.class_id, "class_name": each.class_name, "score": each.score}
        | each.box.model_dump()
        | {"track_id": each.track_id}
        for each in frame.detections
    ]

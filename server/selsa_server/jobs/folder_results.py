"""Results on disk: NDJSON that only grows; after a crash it is complete up to some record."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, Self

from pydantic import ValidationError

from selsa_server.jobs.files import JobRecord
from selsa_server.pipeline.sequence_run import Resume
from selsa_server.schema.detect import FrameRecord, parse_record

BLOCK_BYTES: Final = 1 << 16


class ResultsFile:
    """The results of one job, opened for appending.

    Attributes:
        last: the last record.
        added: frame records that were added since it was opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        self._cut_incomplete()
        self._frames = 0
        self.last: JobRecord | None = None
        self._last_frame = -1
        self.added = 0
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def bytes(self) -> int:
        """Its size."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def frames(self) -> int:
        """Frame records."""
        return self._frames

    @property
    def resume(self) -> Resume:
        """Where the next run begins."""
        return Resume(emitted=self._frames, last=self._last_frame)

    def append(self, records: Sequence[JobRecord]) -> None:
        """Add records; they are on disk when this returns."""
        data = memoryview(b"".join(record.model_dump_json().encode() + b"\n" for record in records))
        handle, whole = self._file.fileno(), self.bytes
        try:
            # Not through the buffer, which would keep what a full disk does not take.
            while data:
                data = data[os.write(handle, data) :]
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, whole)
            raise
        for record in records:
            self._note(record)
            self.added += isinstance(record, FrameRecord)

    def clear(self) -> None:
        """Delete all records."""
        self._file.truncate(0)
        self._sync()
        self._frames, self._last_frame, self.last = 0, -1, None

    def _read(self) -> None:
        """Read the records. Data garbled by a power failure can only follow synced data; it is cut off."""
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                self._note(parse_record(line))
            except ValidationError:
                self._file.truncate(whole)
                return
            whole += len(line)

    def _note(self, record: JobRecord) -> None:
        self.last = record
        if isinstance(record, FrameRecord):
            self._frames += 1
            self._last_frame = record.index

    def _cut_incomplete(self) -> None:
        """Cut off a last line without an end, which was being written when the process was killed."""
        position = self._file.seek(0, os.SEEK_END)
        while position:
            begin = max(0, position - BLOCK_BYTES)
            self._file.seek(begin)
            found = self._file.read(position - begin).rfind(b"\n")
            if found >= 0:
                self._file.truncate(begin + found + 1)
                return
            position = begin
        self._file.truncate(0)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


class ResultsReader:
    """Whole lines of a results file that may still grow, from record number `after` on."""

    def __init__(self, path: Path, after: int) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._skip = after
        self._offset = 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def open(self) -> bool:
        """Open the file, which keeps it readable after its deletion; False if it does not exist."""
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return False
        return True

    def block(self) -> bytes:
        """The next lines; empty when there are none yet. A line without an end is being written."""
        if not self.open():
            return b""
        assert self._file is not None
        self._file.seek(self._offset)
        lines: list[bytes] = []
        size = 0
        while size < BLOCK_BYTES and (line := self._file.readline()).endswith(b"\n"):
            self._offset += len(line)
            if self._skip:
                self._skip -= 1
                continue
            lines.append(line)
            size += len(line)
        return b"".join(lines)

"""From bytes to records, without a transport: checks the length of lines and the order of records."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from selsa_client.wire.errors import DetectionFailedError, IncompleteError, WireFormatError
from selsa_client.wire.frames import Frame
from selsa_server.schema.detect import ErrorRecord, FrameRecord, SummaryRecord, VideoRecord

StreamRecord = VideoRecord | FrameRecord | SummaryRecord

# A frame of 4096 detections is under 1 MiB.
LINE_LIMIT: Final = 8 * 1024 * 1024

# As in the schema, but frames have methods.
_RECORD: Final[TypeAdapter[Any]] = TypeAdapter(
    Annotated[VideoRecord | Frame | SummaryRecord | ErrorRecord, Field(discriminator="type")]
)


class LineSplitter:
    """Splits bytes into lines; holds at most one unfinished line."""

    def __init__(self, limit: int = LINE_LIMIT, *, keep_empty: bool = False) -> None:
        self._limit = limit
        self._keep_empty = keep_empty
        self._partial = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes, without line ends; skips empty lines unless `keep_empty`.

        Raises:
            WireFormatError: a line is longer than the limit.
        """
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            self._append(piece)
            line = bytes(self._partial)
            self._partial.clear()
            if self._keep_empty or line.strip():
                yield line
        self._append(rest)

    def rest(self) -> bytes:
        """The unfinished line; empty after a line end."""
        return bytes(self._partial)

    def forget(self) -> None:
        """Drop the unfinished line."""
        self._partial.clear()

    def _append(self, piece: bytes) -> None:
        if len(self._partial) + len(piece) > self._limit:
            raise WireFormatError(f"A line of the answer is longer than {self._limit} bytes")
        self._partial += piece


class RecordReader:
    """Checks the order of records: one `video`, the frames, then one `summary` or `error` and no more.

    Attributes:
        received: records so far, including the first `after` ones, which are not read here.
        emitted: the frame records among them.
    """

    def __init__(self, line_limit: int = LINE_LIMIT, *, after: int = 0) -> None:
        self._lines = LineSplitter(line_limit)
        self.video: VideoRecord | None = None
        self.summary: SummaryRecord | None = None
        self.received = after
        self.emitted = max(0, after - 1)

    def cut(self) -> None:
        """The connection broke: drop the unfinished line; another answer continues after it."""
        self._lines.forget()

    def feed(self, chunk: bytes) -> Iterator[StreamRecord]:
        """The records that `chunk` completes.

        Raises:
            DetectionFailedError: an `error` record arrived.
            WireFormatError: a line is not a record, or records are out of order.
        """
        for line in self._lines.feed(chunk):
            yield self._accept(_parse(line))

    def finish(self) -> Iterator[StreamRecord]:
        """The last record if its line has no end. Call this when the bytes end.

        Raises:
            IncompleteError: the last record has not arrived.
            DetectionFailedError, WireFormatError: as `feed`.
        """
        rest = self._lines.rest()
        if rest.strip():
            try:
                record = _parse(rest)
            except WireFormatError as error:
                raise self.incomplete("the answer ends in the middle of a record") from error
            yield self._accept(record)
        if self.summary is None:
            raise self.incomplete("the answer ends without its last record")

    def incomplete(self, reason: str) -> IncompleteError:
        """The error for records that stop here."""
        total = f" of at most {self.video.frame_count}" if self.video and self.video.frame_count else ""
        return IncompleteError(
            f"The detections are incomplete: {reason}, after {self.emitted}{total} frames",
            emitted=self.emitted,
        )

    def _accept(self, record: StreamRecord | ErrorRecord) -> StreamRecord:
        if self.summary is not None:
            raise WireFormatError(f"A {record.type} record follows the summary, which must be last")
        if isinstance(record, ErrorRecord):
            raise DetectionFailedError(record)
        if (self.received == 0) != isinstance(record, VideoRecord):
            problem = "arrived before the video record" if self.received == 0 else "arrived twice"
            raise WireFormatError(f"A {record.type} record {problem}")
        match record:
            case VideoRecord():
                self.video = record
            case FrameRecord():
                self.emitted += 1
            case SummaryRecord():
                if record.emitted != self.emitted:
                    raise self.incomplete(f"the summary counts {record.emitted} frame records")
                self.summary = record
        self.received += 1
        return record


def _parse(line: bytes) -> StreamRecord | ErrorRecord:
    try:
        record: StreamRecord | ErrorRecord = _RECORD.validate_json(line)
    except ValidationError as error:
        start = line[:80].decode("utf-8", errors="replace")
        raise WireFormatError(f"A line of the answer is not a record: {start!r}") from error
    return record

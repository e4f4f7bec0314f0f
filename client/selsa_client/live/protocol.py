"""Messages of `WS /stream` without a transport: pieces to messages, messages to records."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from selsa_client.http.protocol import LiveOptions, error_from_record
from selsa_client.wire.errors import DetectionFailedError, WireFormatError
from selsa_client.wire.records import RecordReader, StreamRecord
from selsa_server.schema.stream import LiveContainer, StreamEnd, StreamFrame, StreamStart

# Bytes. Small enough that the server detects on some frames while the next ones are sent.
PIECE_BYTES: Final = 64 * 1024

END: Final = StreamEnd(type="end").model_dump_json()


class TimedImage(NamedTuple):
    """One JPEG image and its presentation time in seconds, which must not decrease."""

    data: bytes
    time: float


@dataclass(frozen=True, slots=True)
class LiveFeed:
    """A live stream as it is sent."""

    container: LiveContainer
    pieces: Iterator[bytes | TimedImage]


def live_start(container: LiveContainer, options: LiveOptions) -> StreamStart:
    """The first message.

    Raises:
        pydantic.ValidationError: an option has an invalid value.
    """
    return StreamStart.model_validate({"type": "start", "container": container, **options})


def start_message(start: StreamStart) -> str:
    """The first message as text: values other than the defaults."""
    return start.model_dump_json(exclude_defaults=True)


def messages_of(piece: bytes | TimedImage, container: LiveContainer) -> Iterator[str | bytes]:
    """A piece of the source as messages. An image is one message, after its time; other bytes are split."""
    if isinstance(piece, TimedImage):
        yield StreamFrame(type="frame", time=piece.time).model_dump_json()
        piece = piece.data
    if container == "jpeg":
        yield piece
        return
    view = memoryview(piece)
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])


class LiveReader:
    """Reads records from the server's messages."""

    def __init__(self) -> None:
        self.records = RecordReader()

    def accept(self, message: str | bytes) -> Iterator[StreamRecord]:
        """The record of a message.

        Raises:
            ResponseError: the server refused the stream: the first record is an `error`.
            DetectionFailedError: a later record is an `error`.
            WireFormatError: the message is not a record.
        """
        if isinstance(message, bytes):
            raise WireFormatError("A message of the answer is binary; records are text")
        try:
            yield from self.records.feed(message.encode() + b"\n")
        except DetectionFailedError as failed:
            if self.records.received:
                raise
            raise error_from_record(failed.record) from failed

    def closed(self, code: int | None, reason: str) -> None:
        """The server closed the connection.

        Raises:
            IncompleteError: before its last record.
        """
        if self.records.summary is None:
            details = "" if code is None else f" ({code} {reason}".rstrip() + ")"
            raise self.records.incomplete(f"the connection was closed{details}")

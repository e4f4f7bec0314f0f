"""What is said over `WS /stream`, without a transport: messages out of pieces, records out of messages."""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypedDict

from selsa_client.http.protocol import error_from_record
from selsa_client.wire.errors import DetectionFailedError, WireFormatError
from selsa_client.wire.records import RecordReader, StreamRecord
from selsa_server.schema.stream import LiveContainer, StreamEnd, StreamFrame, StreamStart

# Small enough that frames are detected on while the next ones travel.
PIECE_BYTES: Final = 64 * 1024

END: Final = StreamEnd(type="end").model_dump_json()


class LiveOptions(TypedDict, total=False):
    """The options of a live stream as typed keyword arguments; a test holds them and the schema together."""

    model: str | None
    drop: Literal["never", "oldest"]
    bank: Literal["spread", "first"]
    score_threshold: float
    max_detections: int | None
    classes: tuple[str, ...] | list[str]
    reference_frames: int | None
    stride: int
    decode: Literal["strict", "tolerant"]


class TimedImage(NamedTuple):
    """One JPEG image, and when it is shown, in seconds; never less than the one before."""

    data: bytes
    time: float


def live_start(container: LiveContainer, options: LiveOptions) -> StreamStart:
    """The first message.

    Raises:
        pydantic.ValidationError: an option has a value that is not allowed.
    """
    return StreamStart.model_validate({"type": "start", "container": container, **options})


def start_message(start: StreamStart) -> str:
    """The first message as text: what differs from the defaults."""
    return start.model_dump_json(exclude_defaults=True)


def messages_of(piece: bytes | TimedImage, container: LiveContainer) -> Iterator[str | bytes]:
    """A piece of the source as messages: an image is one, after its time; other bytes may be cut anywhere."""
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
    """Records from the server's messages."""

    def __init__(self) -> None:
        self.records = RecordReader()

    def accept(self, message: str | bytes) -> Iterator[StreamRecord]:
        """The record of a message.

        Raises:
            ResponseError: the stream is refused: an `error` record came first.
            DetectionFailedError: one came later.
            WireFormatError: the message is no record.
        """
        if isinstance(message, bytes):
            raise WireFormatError("A message of the answer is binary, which no record is")
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
            told = f" ({code}{' ' + reason if reason else ''})" if code is not None else ""
            raise self.records.incomplete(f"the connection was closed{told}")

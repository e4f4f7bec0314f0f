"""Where records go: to stdout line by line, or to a file that appears only when it is complete."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from pydantic import BaseModel

from selsa_client.errors import DetectionFailedError, OutputError
from selsa_client.records import StreamRecord
from selsa_server.schema import FrameRecord, SummaryRecord, VideoRecord

__all__ = ["FORMATS", "check_output", "open_output"]

Write = Callable[[StreamRecord], None]
Encode = Callable[[StreamRecord], bytes]


@contextmanager
def open_output(path: Path | None) -> Iterator[Write]:
    """A function that takes the records in order; None is stdout.

    Raises:
        OutputError: the file cannot be written.
    """
    if path is None:
        with _stdout() as write:
            yield write
        return
    encode = FORMATS[path.suffix.lower()]()
    with _appearing_file(path) as file:

        def write(record: StreamRecord) -> None:
            part = encode(record)
            with _writing(path):
                file.write(part)

        yield write


def check_output(path: Path) -> None:
    """Refuse a result file that could only fail after the work is done.

    Raises:
        ValueError: its extension names no format, or it lies in no folder.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{str(path)!r} is not allowed: its name must end in {' or '.join(FORMATS)}")
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is not allowed: it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{str(path)!r} is not allowed: the folder {str(path.parent)!r} does not exist")


def _ndjson() -> Encode:
    return lambda record: _json(record) + b"\n"


def _json_document() -> Encode:
    # Made as the frames come: a document of any length needs the memory of one frame.
    separator = b""

    def encode(record: StreamRecord) -> bytes:
        nonlocal separator
        match record:
            case VideoRecord():
                return b'{"video":' + _json(record) + b',\n"frames":['
            case FrameRecord():
                before, separator = separator, b","
                return before + b"\n" + _json(record)
            case SummaryRecord():
                return b'],\n"summary":' + _json(record) + b"}\n"

    return encode


# One encoder per result file: it takes the records in order and gives the bytes that each adds.
FORMATS: Final[dict[str, Callable[[], Encode]]] = {".json": _json_document, ".ndjson": _ndjson}


@contextmanager
def _stdout() -> Iterator[Write]:
    file = sys.stdout.buffer

    def write(record: BaseModel) -> None:
        file.write(_json(record) + b"\n")
        # Whoever reads the pipe gets each record when it is known.
        file.flush()

    try:
        yield write
    except DetectionFailedError as error:
        # The reader of the pipe sees a failed sequence end as the wire format says: with its error.
        write(error.record)
        raise


@contextmanager
def _appearing_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when the block ends well, and leaves nothing when it does not."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _writing(path):
        file = partial.open("wb")
    try:
        yield file
        with _writing(path):
            file.close()
            partial.replace(path)
    except BaseException:
        with suppress(OSError):
            file.close()
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}") from error


def _json(record: BaseModel) -> bytes:
    return record.model_dump_json().encode()

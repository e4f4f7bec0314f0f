"""Where records go: to stdout as they arrive, or to a file that appears only when it is complete."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from selsa_client.formats import FormatName, encoder
from selsa_client.wire.errors import DetectionFailedError, OutputError
from selsa_client.wire.records import StreamRecord

Write = Callable[[StreamRecord], None]


@contextmanager
def open_output(path: Path | None, name: FormatName, source: str = "video") -> Iterator[Write]:
    """A function that writes records, given in order, in a format; path None is stdout.

    `source` is the file name of the video.

    Raises:
        OutputError: the file cannot be written.
    """
    if path is None:
        with _stdout(name, source) as write:
            yield write
        return
    encode = encoder(name, source)
    with appearing_path(path) as partial, _opened(partial, path) as file:

        def write_part(record: StreamRecord) -> None:
            with _writing(path):
                file.writelines(encode(record))

        yield write_part
        with _writing(path):
            file.close()


def check_place(path: Path) -> None:
    """Check early that a result file can be written.

    Raises:
        ValueError: it is a folder, or its folder does not exist.
    """
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is not allowed: it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{str(path)!r} is not allowed: the folder {str(path.parent)!r} does not exist")


@contextmanager
def appearing_path(path: Path) -> Iterator[Path]:
    """A temporary path that is renamed to `path` if the block succeeds, and removed if it fails.

    Raises:
        OutputError: it cannot be renamed.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        with _writing(path):
            partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def _opened(partial: Path, path: Path) -> Iterator[IO[bytes]]:
    with _writing(path):
        file = partial.open("wb")
    try:
        yield file
    finally:
        # If the block failed, a failing flush does not matter.
        with suppress(OSError):
            file.close()


@contextmanager
def _stdout(name: FormatName, source: str) -> Iterator[Write]:
    file = sys.stdout.buffer
    encode = encoder(name, source)

    def write(record: StreamRecord) -> None:
        try:
            file.writelines(encode(record))
        except ValueError as error:
            raise OutputError(f"Cannot write {name}: {error}") from error
        # A reader of the pipe gets each record at once.
        file.flush()

    try:
        yield write
    except DetectionFailedError as error:
        # In the wire format, a failed sequence ends with its error record.
        if name == "ndjson":
            file.write(error.record.model_dump_json().encode() + b"\n")
            file.flush()
        raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a number that the format cannot hold
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise OutputError(f"Cannot write {path}: {reason}") from error

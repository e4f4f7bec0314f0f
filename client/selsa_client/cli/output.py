"""Where records go: to stdout as they come, or to a file that appears only when it is complete."""

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
def open_output(path: Path | None, name: FormatName) -> Iterator[Write]:
    """A function that takes the records in order and writes them in a format; None is stdout.

    Raises:
        OutputError: the file cannot be written.
    """
    if path is None:
        with _stdout(name) as write:
            yield write
        return
    encode = encoder(name)
    with appearing_path(path) as partial, _opened(partial, path) as file:

        def write_part(record: StreamRecord) -> None:
            with _writing(path):
                file.writelines(encode(record))

        yield write_part
        with _writing(path):
            file.close()


def check_place(path: Path) -> None:
    """Refuse a result file that could only fail after the work is done.

    Raises:
        ValueError: it is a folder or lies in none.
    """
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is not allowed: it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{str(path)!r} is not allowed: the folder {str(path.parent)!r} does not exist")


@contextmanager
def appearing_path(path: Path) -> Iterator[Path]:
    """Where to write what is to be at `path` when the block ends well; nothing is left when it does not.

    Raises:
        OutputError: it cannot take its name.
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
        # What could still be flushed is of no use to anyone when the block failed.
        with suppress(OSError):
            file.close()


@contextmanager
def _stdout(name: FormatName) -> Iterator[Write]:
    file = sys.stdout.buffer
    encode = encoder(name)

    def write(record: StreamRecord) -> None:
        try:
            file.writelines(encode(record))
        except ValueError as error:
            raise OutputError(f"Cannot write {name}: {error}") from error
        # Whoever reads the pipe gets each record when it is known.
        file.flush()

    try:
        yield write
    except DetectionFailedError as error:
        # The reader of the pipe sees a failed sequence end as the wire format says: with its error.
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

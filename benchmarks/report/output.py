"""Files of figures and pictures: checked before anything is measured, and written whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from selsa_server.bench.ways import BenchError


def check_output(path: Path) -> None:
    """Refuse a file that cannot be written, before minutes are spent on what goes into it.

    Raises:
        BenchError: its folder is not there, or it is a folder.
    """
    if path.is_dir():
        raise BenchError(f"{path} is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise BenchError(f"{path}: there is no folder {path.absolute().parent}; make it first")


def write_json(path: Path, value: Any) -> None:
    """Write dataclasses, lists and numbers as indented JSON.

    Raises:
        BenchError: the file cannot be written.
    """
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
    write_whole(path, lambda part: part.write_bytes(text))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file of another name of the same suffix, then give it its own.

    Raises:
        BenchError: the file cannot be written.
    """
    part = path.with_name(f".part-{path.name}")
    try:
        write(part)
        part.replace(path)
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)

"""Exit codes of the `selsa` command, and how a failure becomes one line and one of them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from selsa_client.cli.extras import MissingExtraError
from selsa_client.wire.errors import (
    DetectionFailedError,
    IncompleteError,
    InputError,
    MissingPackageError,
    OutputError,
    RejectedError,
    SelsaError,
)

USAGE: Final = 2
INPUT: Final = 3
SERVER: Final = 4
INCOMPLETE: Final = 5
INTERRUPTED: Final = 130
# What a shell reports for a program that SIGPIPE ended.
BROKEN_PIPE: Final = 141

# Statuses that speak of the video that was sent; other 4xx speak of the address (404, 405) or a proxy (403).
_INPUT_STATUSES: Final = (400, 413, 415, 422)


@contextmanager
def failures_end_in_exit(command: str) -> Iterator[None]:
    """Turn the client's errors into one line on stderr and an exit code.

    So is what the system says of a file, wherever it is touched: a name that is too long, a folder that may
    not be looked into.

    Raises:
        typer.Exit: in place of every `SelsaError`, and of every `OSError` that names a file.
    """
    try:
        yield
    except MissingExtraError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(USAGE) from error
    except SelsaError as error:
        sys.stderr.write(f"selsa {command}: {error}\n")
        raise typer.Exit(_code_of(error)) from error
    except OSError as error:
        if error.filename is None:
            raise
        sys.stderr.write(f"selsa {command}: cannot use {error.filename!r}: {error.strerror}\n")
        raise typer.Exit(INPUT) from error


def _code_of(error: SelsaError) -> int:
    match error:
        case InputError() | OutputError():
            return INPUT
        case RejectedError() | DetectionFailedError():
            return INPUT if error.status in _INPUT_STATUSES else SERVER
        case IncompleteError():
            return INCOMPLETE
        case MissingPackageError():
            return USAGE
        case _:
            return SERVER

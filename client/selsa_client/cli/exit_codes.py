"""Exit codes of the `selsa` command, and how a failure becomes one line on stderr and an exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from selsa_client.wire.errors import (
    DetectionFailedError,
    IncompleteError,
    InputError,
    MissingPackageError,
    OutputError,
    RejectedError,
    SelsaError,
    ServerUnreachableError,
)

USAGE: Final = 2
INPUT: Final = 3
SERVER: Final = 4
INCOMPLETE: Final = 5
INTERRUPTED: Final = 130
START_A_SERVER: Final = (
    "start one with `selsa serve`, name another one with --server, or detect without one with --local"
)
# A shell reports this code for a program that SIGPIPE ended.
BROKEN_PIPE: Final = 141

# Statuses about the video; other 4xx are about the address (404, 405) or a proxy (403).
_INPUT_STATUSES: Final = (400, 413, 415, 422)
_OWN_PREFIX: Final = "selsa_"


class MissingExtraError(SelsaError):
    """A command needs a package from an extra that is not installed."""

    def __init__(self, command: str, extra: str | None, missing: str) -> None:
        if extra is None:
            message = f"`selsa {command}` needs the package {missing}: pip install selsa"
        else:
            message = f"`selsa {command}` needs the {extra} extra: pip install 'selsa[{extra}]'"
        super().__init__(message)


@contextmanager
def needs_extra(command: str, module: str) -> Iterator[None]:
    """Report a missing third-party package as the missing extra of `module`'s package.

    An extra has the name of its package without `selsa_`; the client's packages are in the base install.

    Raises:
        MissingExtraError: a third-party package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        # A missing selsa module is a broken installation; no extra would add it.
        if not missing or missing.startswith(_OWN_PREFIX):
            raise
        extra = module.partition(".")[0].removeprefix(_OWN_PREFIX)
        raise MissingExtraError(command, None if extra == "client" else extra, missing) from error


@contextmanager
def failures_end_in_exit(command: str) -> Iterator[None]:
    """Turn the client's errors, and system errors about a file, into one line on stderr and an exit code.

    Raises:
        typer.Exit: in place of every `SelsaError` and every `OSError` that names a file.
    """
    try:
        yield
    except MissingExtraError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(USAGE) from error
    except SelsaError as error:
        hint = f"; {START_A_SERVER}" if isinstance(error, ServerUnreachableError) else ""
        sys.stderr.write(f"selsa {command}: {error}{hint}\n")
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

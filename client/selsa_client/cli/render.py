"""Drawn results, when the server extra is installed on this machine: a video, a contact sheet.

What draws is found by the entry points `video` and `sheet` of the group `selsa.render` and known by its shape
only, so that the server and the command draw the same.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Literal, Protocol

from selsa_client.cli.extras import MissingExtraError, needs_extra
from selsa_client.cli.output import appearing_path
from selsa_client.wire.errors import InputError, OutputError
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import DetectParams
from selsa_server.schema.problems import CodedError

GROUP: Final = "selsa.render"

Drawn = Literal["video", "sheet"]
_SUFFIXES: Final[dict[Drawn, str]] = {"video": ".mp4", "sheet": ".png"}
_OPTIONS: Final[dict[Drawn, str]] = {"video": "--render", "sheet": "--show-sheet"}


class Renderer(Protocol):
    """What the entry point gives: a block that takes the records of a video and leaves a file.

    An expected failure raises a `CodedError`, or an OSError when the file cannot be written.
    """

    def __call__(
        self, source: Path, out: Path, params: DetectParams
    ) -> AbstractContextManager[Callable[[StreamRecord], None]]:
        """Draw what was detected on `source` with `params` into a new file `out`."""


def check_drawn(kind: Drawn, path: Path) -> None:
    """Refuse before the work what could only fail after it.

    Raises:
        ValueError: the file's name does not end as it must.
        MissingExtraError: what draws is not installed.
    """
    if path.suffix.lower() != _SUFFIXES[kind]:
        raise ValueError(f"{_OPTIONS[kind]} {str(path)!r} is not allowed: it must end in {_SUFFIXES[kind]}")
    with needs_extra(_command(kind), "selsa_server"):
        _entry_point(kind).load()


@contextmanager
def open_drawn(
    kind: Drawn, source: Path, path: Path, params: DetectParams
) -> Iterator[Callable[[StreamRecord], None]]:
    """A function that takes the records in order; the file is there when the block ends well.

    Raises:
        MissingExtraError: what draws is not installed.
        InputError: the video cannot be read, or is another one by now.
        OutputError: the file cannot be written.
    """
    with needs_extra(_command(kind), "selsa_server"):
        renderer: Renderer = _entry_point(kind).load()
    with appearing_path(path) as partial:
        opened = renderer(source, partial, params)
        with _told(path):
            write = opened.__enter__()

        def write_told(record: StreamRecord) -> None:
            with _told(path):
                write(record)

        try:
            yield write_told
        except BaseException as error:
            opened.__exit__(type(error), error, error.__traceback__)
            raise
        with _told(path):
            opened.__exit__(None, None, None)


def _command(kind: Drawn) -> str:
    return f"detect {_OPTIONS[kind]}"


def _entry_point(kind: Drawn) -> EntryPoint:
    for point in entry_points(group=GROUP, name=kind):
        return point
    raise MissingExtraError(_command(kind), "server", "selsa_server")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Failures of what draws as the client's own."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}") from error
    except Exception as error:
        if isinstance(error, CodedError):
            raise InputError(f"Cannot draw {path.name}: {error.detail}") from error
        raise

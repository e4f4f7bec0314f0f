"""Drawings of results, if the server extra is installed on this machine: a video, a contact sheet.

The renderers are found by the entry points `video` and `sheet` of the group `selsa.render`; the client knows
only their signatures.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Literal, Protocol

from selsa_client.cli.exit_codes import MissingExtraError, needs_extra
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
    """An entry point: a context manager that takes the records of a video and writes a file.

    It raises a `CodedError` if it cannot draw, or an OSError if it cannot write the file.
    """

    def __call__(
        self, source: Path, out: Path, params: DetectParams
    ) -> AbstractContextManager[Callable[[StreamRecord], None]]:
        """Draw the detections on `source` with `params` into a new file `out`."""


def check_drawn(kind: Drawn, path: Path) -> None:
    """Check early that a drawing can be written.

    Raises:
        ValueError: the file's name has the wrong extension.
        MissingExtraError: the renderer is not installed.
    """
    if path.suffix.lower() != _SUFFIXES[kind]:
        raise ValueError(f"{_OPTIONS[kind]} {str(path)!r} is not allowed: it must end in {_SUFFIXES[kind]}")
    with needs_extra(_command(kind), "selsa_server"):
        _entry_point(kind).load()


@contextmanager
def open_drawn(
    kind: Drawn, source: Path, path: Path, params: DetectParams
) -> Iterator[Callable[[StreamRecord], None]]:
    """A function that takes the records in order; the file appears if the block succeeds.

    Raises:
        MissingExtraError: the renderer is not installed.
        InputError: the video cannot be read, or has changed.
        OutputError: the file cannot be written.
    """
    with needs_extra(_command(kind), "selsa_server"):
        renderer: Renderer = _entry_point(kind).load()
    with appearing_path(path) as partial:
        opened = renderer(source, partial, params)
        with _translated(path):
            write = opened.__enter__()

        def write_translated(record: StreamRecord) -> None:
            with _translated(path):
                write(record)

        try:
            yield write_translated
        except BaseException as error:
            opened.__exit__(type(error), error, error.__traceback__)
            raise
        with _translated(path):
            opened.__exit__(None, None, None)


def _command(kind: Drawn) -> str:
    return f"detect {_OPTIONS[kind]}"


def _entry_point(kind: Drawn) -> EntryPoint:
    for point in entry_points(group=GROUP, name=kind):
        return point
    raise MissingExtraError(_command(kind), "server", "selsa_server")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the renderer's errors into the client's."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}") from error
    except Exception as error:
        if isinstance(error, CodedError):
            raise InputError(f"Cannot draw {path.name}: {error.detail}") from error
        raise

"""The `selsa` command. Installed packages register its subcommands as entry points.

A subcommand is imported only when it is called. So `selsa --help` imports no torch, and a command that is
broken or lacks its extra does not affect the others.
"""

import ast
import gc
import os
import signal
import sys
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from selsa_client.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, USAGE, failures_end_in_exit, needs_extra

GROUP: Final = "selsa.commands"

_EPILOG: Final = """\
To begin: `selsa sample -o sample.mp4` and `selsa detect sample.mp4 --local -o sample.csv`; or
`selsa serve`, which has a web page for your videos.

Exit codes: 0 done, 2 usage, 3 input, 4 server, 5 incomplete, 130 interrupted.
"""

# The order on the help page; other commands follow by name.
_ORDER: Final = (
    "detect",
    "serve",
    "sample",
    "models",
    "doctor",
    "bench",
    "pull",
    "import",
    "init",
    "export",
    "train",
    "evaluate",
    "synthesize",
    "check-data",
)


def main() -> None:
    """Run `selsa` with the arguments of this process.

    Exit codes: 0 done, 2 usage, 3 input, 4 server, 5 incomplete, 130 interrupted.
    """
    # The garbage collector would run again and again: imports make many objects, and nearly all of them stay.
    gc.disable()
    # Like Ctrl-C, SIGTERM must run `finally` blocks: they remove partial results and drop connections.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        build_app()(prog_name="selsa")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def build_app() -> typer.Typer:
    """The application with every registered command."""
    app = typer.Typer(
        cls=CommandGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        epilog=_EPILOG,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_selsa)
    return app


class CommandGroup(TyperGroup):
    """The commands that installed packages registered under `selsa.commands`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        found = {point.name: point for point in entry_points(group=GROUP)}
        rank = {name: place for place, name in enumerate(_ORDER)}
        for name in sorted(found, key=lambda name: (rank.get(name, len(rank)), name)):
            self.add_command(_LazyCommand(found[name]))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C and a closed stdout end it without a traceback.

        Raises:
            typer.Exit: Ctrl-C, or the reader of stdout has gone.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise typer.Exit(INTERRUPTED) from error
        except BrokenPipeError as error:
            # The interpreter flushes stdout once more at exit; that must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from error


class _LazyCommand(TyperCommand):
    """A command on the help page; loads the real one when it is called."""

    def __init__(self, point: EntryPoint) -> None:
        super().__init__(name=point.name)
        self._point = point

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 - wrapped instead of cut
        """The whole summary."""
        return _summary(self._point)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, which parses the options and so must be imported now."""
        return _load(self._point).make_context(info_name, args, parent=parent, **extra)


class _GuardedCommand(TyperCommand):
    """A command that reports a missing third-party package as its missing extra."""

    module = ""

    def invoke(self, ctx: Any) -> Any:
        """Run the command's function."""
        # From here on the collector skips what the imports made.
        gc.freeze()
        gc.enable()
        name = self.name or ""
        with failures_end_in_exit(name), needs_extra(name, self.module):
            return super().invoke(ctx)


def _load(point: EntryPoint) -> Any:
    try:
        with failures_end_in_exit(point.name), needs_extra(point.name, point.module):
            function = point.load()
    except typer.Exit:
        raise
    except Exception as error:
        # A damaged installation, such as a shared library that does not load.
        sys.stderr.write(f"selsa {point.name}: cannot be loaded: {type(error).__name__}: {error}\n")
        raise typer.Exit(USAGE) from error
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(point.name, cls=_GuardedCommand)(function)
    command = typer.main.get_command(app)
    if isinstance(command, _GuardedCommand):
        command.module = point.module
    return command


def _summary(point: EntryPoint) -> str:
    """First paragraph of the function's docstring, read from the source without importing it."""
    try:
        tree = ast.parse(_source(point.module))
    except (OSError, SyntaxError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == point.attr:
            return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    return ""


def _source(module: str) -> str:
    path: list[str] | None = None
    *packages, _ = parts = module.split(".")
    for depth, part in enumerate(parts):
        spec = PathFinder.find_spec(".".join(parts[: depth + 1]), path)
        if spec is None:
            raise FileNotFoundError(part)
        if depth == len(packages):
            return Path(spec.origin or "").read_text(encoding="utf-8")
        path = list(spec.submodule_search_locations or ())
    raise FileNotFoundError(module)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer passes the option's value
    if wanted:
        typer.echo(f"selsa {version('selsa')}")
        raise typer.Exit


def _selsa(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Detect objects in video with whole-sequence attention (SELSA)."""


def _terminate(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)

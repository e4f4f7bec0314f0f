"""The `selsa` command. Its subcommands come from the packages that are installed; see `commands`."""

import signal
import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from selsa_client.cli.commands import CommandGroup


def main() -> None:
    """Run `selsa` with the arguments of this process.

    Exit codes: 0 done, 2 usage, 3 input, 4 server, 5 incomplete, 130 interrupted.
    """
    # As for Ctrl-C, `finally` has to run: half-written results are removed, connections dropped.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        build_app()(prog_name="selsa")
    except KeyboardInterrupt:
        sys.exit(130)


def build_app() -> typer.Typer:
    """The application with every registered command."""
    app = typer.Typer(
        cls=CommandGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        epilog="Exit codes: 0 done, 2 usage, 3 input, 4 server, 5 incomplete, 130 interrupted.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_selsa)
    return app


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
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

"""`selsa doctor`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from selsa_client.cli.doctor import installed, of_extras, of_server
from selsa_client.cli.exit_codes import USAGE
from selsa_client.http.protocol import check_api_key, check_server
from selsa_server.schema.doctor import Finding

BAD: Final = 1
_COLOURS: Final = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The bundle whose engines are tried.  [default: SELSA_BUNDLE, or the packaged one]",
        ),
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Ask the server at this address, too.", show_default=False)
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="SELSA_API_KEY", help="Key that the server knows you by.", show_default=False),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per finding.")] = False,
) -> None:
    """Find out what is installed and what really runs here, and what to do about the rest.

    One line per finding: ok, warn or fail. Ends with 1 if anything failed, else with 0.
    """
    try:
        address = None if server is None else check_server(server)
        key = None if api_key is None else check_api_key(api_key)
    except ValueError as error:
        sys.stderr.write(f"selsa doctor: {error}\n")
        raise typer.Exit(USAGE) from error
    failed = False
    for found in _findings(bundle, address, key):
        failed = failed or found.status == "fail"
        _show(found, as_json=as_json)
    raise typer.Exit(BAD if failed else 0)


def _findings(bundle: Path | None, server: str | None, key: str | None) -> Iterator[Finding]:
    yield from installed()
    yield from of_extras(bundle)
    if server is not None:
        yield from of_server(server, key)


def _show(found: Finding, *, as_json: bool) -> None:
    if as_json:
        fields = ("status", "subject", "text", "remedy")
        typer.echo(json.dumps({name: getattr(found, name) for name in fields}, ensure_ascii=False))
        return
    status = typer.style(f"{found.status:4}", fg=_COLOURS[found.status])
    remedy = f" -> {found.remedy}" if found.remedy else ""
    typer.echo(f"{status}  {found.subject}: {found.text}{remedy}")

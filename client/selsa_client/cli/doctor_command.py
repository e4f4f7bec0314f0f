"""`selsa doctor`: what is installed, whether a server answers, and what the extras find on this machine."""

import json
import platform
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Annotated, Final

import typer

from selsa_client.cli.exit_codes import USAGE, MissingExtraError, needs_extra
from selsa_client.cli.options import ApiKeyOption
from selsa_client.http.protocol import check_api_key, check_server
from selsa_client.wire.errors import ResponseError, SelsaError
from selsa_server.schema.doctor import Finding, Status

GROUP: Final = "selsa.doctor"
BAD: Final = 1
_SHOWN: Final[dict[Status, tuple[str, str]]] = {
    "ok": ("ok", typer.colors.GREEN),
    "missing": ("missing", typer.colors.YELLOW),
    "unavailable": ("not on this machine", typer.colors.BLUE),
    "warn": ("warning", typer.colors.YELLOW),
    "fail": ("fail", typer.colors.RED),
}
_TIMEOUT: Final = 5.0
# Not for users: tools of this repository, and what other extras share.
_INTERNAL_EXTRAS: Final = ("dev", "pipeline", "serving")
_START: Final = "start one with `selsa serve`, or give its address with --server"


def doctor(
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Bundle whose engines are tried.  [default: SELSA_BUNDLE, or the packaged one]",
        ),
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Check the server at this address, too.", show_default=False)
    ] = None,
    api_key: ApiKeyOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per finding.")] = False,
) -> None:
    """Find out what is installed and works on this machine, and how to fix the rest.

    Prints one line per finding: ok, missing (can be installed), not on this machine (cannot be installed),
    warning (works in part) or fail. The last line counts them. Exits with 1 if anything failed, else with 0.
    """
    try:
        address = None if server is None else check_server(server)
        key = None if api_key is None else check_api_key(api_key)
    except ValueError as error:
        sys.stderr.write(f"selsa doctor: {error}\n")
        raise typer.Exit(USAGE) from error
    counts: Counter[Status] = Counter()
    next_ = "next: selsa serve"
    for found in _findings(bundle, address, key):
        counts[found.status] += 1
        if (found.subject, found.status) == ("server", "missing"):
            next_ = "next: selsa detect VIDEO --server ADDRESS"
        _show(found, as_json=as_json)
    if not as_json:
        counted = ", ".join(f"{counts[status]} {_SHOWN[status][0]}" for status in _SHOWN if counts[status])
        next_ = "see the lines `fail`" if counts["fail"] else next_
        typer.echo(f"{counted}; {next_}")
    raise typer.Exit(BAD if counts["fail"] else 0)


def _findings(bundle: Path | None, server: str | None, key: str | None) -> Iterator[Finding]:
    yield from _installed()
    yield from _of_extras(bundle)
    if server is not None:
        yield _of_server(server, key)


def _show(found: Finding, *, as_json: bool) -> None:
    if as_json:
        fields = ("status", "subject", "text", "remedy")
        typer.echo(json.dumps({name: getattr(found, name) for name in fields}, ensure_ascii=False))
        return
    name, colour = _SHOWN[found.status]
    status = typer.style(f"{name:19}", fg=colour)
    remedy = f" -> {found.remedy}" if found.remedy else ""
    typer.echo(f"{status}  {found.subject}: {found.text}{remedy}")


def _installed() -> Iterator[Finding]:
    """Versions and installed extras."""
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(status="ok", subject="selsa", text=f"{version('selsa')}, {system}, in {sys.prefix}")
    for extra, packages in sorted(_extras().items()):
        missing = sorted(package for package in packages if not _is_installed(package))
        text, remedy = "installed", None
        status: Status = "missing" if missing else "ok"
        if missing:  # not a failure: nobody needs all extras
            text = f"lacks {', '.join(missing)}" if len(missing) < len(packages) else "not installed"
            remedy = f"to have it: pip install 'selsa[{extra}]'"
        yield Finding(status=status, subject=f"extra {extra}", text=text, remedy=remedy)


def _of_extras(bundle: Path | None) -> Iterator[Finding]:
    """The findings of packages with an entry point in `selsa.doctor`."""
    for point in entry_points(group=GROUP):
        try:
            with needs_extra("doctor", point.module):
                findings: Callable[[Path | None], Iterator[Finding]] = point.load()
                yield from findings(bundle)
        except MissingExtraError:
            yield Finding(
                status="missing",
                subject=point.name,
                text="not installed: this machine can use a server, but not detect by itself",
                remedy=f"pip install 'selsa[{point.name}]'",
            )
        except Exception as error:  # noqa: BLE001 - a shared library that does not load is a finding
            yield Finding(
                status="fail",
                subject=point.name,
                text=f"check failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
                remedy=f"pip install --force-reinstall 'selsa[{point.name}]'",
            )


def _of_server(address: str, api_key: str | None) -> Finding:
    """Whether a server is at the address and ready, and which model it serves."""
    from selsa_client.client import Client

    subject = f"server {address}"
    try:
        with Client(address, api_key=api_key, timeout=_TIMEOUT) as client:
            if not client.ready():
                text, remedy = "is not ready", "wait a moment; the server's log tells what it is doing"
                return Finding(status="fail", subject=subject, text=text, remedy=remedy)
            model = client.model()
    except SelsaError as error:
        remedy = _START
        if isinstance(error, ResponseError) and error.status == HTTPStatus.UNAUTHORIZED:
            remedy = "give a valid key with --api-key, or SELSA_API_KEY"
        return Finding(status="fail", subject=subject, text=str(error), remedy=remedy)
    text = f"ready, serves {model.name} in {model.precision} on {model.provider}"
    return Finding(status="ok", subject=subject, text=text)


def _extras() -> dict[str, set[str]]:
    """Names of packages by extra, from this distribution's metadata; without `_INTERNAL_EXTRAS`."""
    found: dict[str, set[str]] = {}
    for requirement in requires("selsa") or []:
        name, _, marker = requirement.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        package = re.match(r"[A-Za-z0-9._-]+", name.strip())
        if extra is None or package is None or package[0] == "selsa" or extra[1] in _INTERNAL_EXTRAS:
            continue
        found.setdefault(extra[1], set()).add(package[0])
    return found


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True

"""`selsa models`: what can be served on this machine, and what can be downloaded."""

import json
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Annotated, Final, TypedDict

import typer

from selsa_client.cli.exit_codes import MissingExtraError, needs_extra

GROUP: Final = "selsa.models"


class KnownModel(TypedDict):
    """What an entry point of the group says of a model; `command` serves it or downloads it."""

    name: str
    title: str
    description: str
    warning: str | None
    classes: int
    command: str


def models(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per model.")] = False,
) -> None:
    """List the models that can be served here and those that can be downloaded.

    For each: its name, what it detects, and the command that serves or downloads it.
    """
    missing: list[MissingExtraError] = []
    for model in _known(missing):
        if as_json:
            typer.echo(json.dumps(model, ensure_ascii=False))
            continue
        typer.echo("{name}: {title}, {classes} classes. {description}".format(**model))
        if model["warning"]:
            typer.echo(f"  WARNING: {model['warning']}")
        typer.echo(f"  $ {model['command']}")
    for error in missing:
        typer.echo(f"not listed: {error}", err=True)


def _known(missing: list[MissingExtraError]) -> Iterator[KnownModel]:
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            with needs_extra("models", point.module):
                found: Callable[[], Iterator[KnownModel]] = point.load()
                yield from found()
        except MissingExtraError as error:
            missing.append(error)

"""Command-line options, made from the fields of settings.

Values stay text until pydantic parses them, so the settings alone define what is allowed.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from selsa_server.settings import ServerSettings

_Function = TypeVar("_Function", bound=Callable[..., None])

_METAVARS: Final[dict[object, str]] = {
    int: "INTEGER",
    float: "NUMBER",
    Path: "PATH",
    "bundle": "[NAME=]FOLDER|ADDRESS",
}
# First on the help page: what most servers need.
_FIRST: Final = (
    "bundle",
    "provider",
    "precision",
    "host",
    "port",
    "api_keys_file",
    "allowed_hosts",
    "cors_origins",
)


def with_server_options(function: _Function) -> _Function:
    """Give `function`, which takes `**options`, one option for each field of `ServerSettings`.

    typer reads options from the signature. An option that was not given is None, so that the environment
    and the default still count.
    """
    fields = sorted(ServerSettings.model_fields.items(), key=lambda item: item[0] not in _FIRST)
    parameters = [option_of(name, field) for name, field in fields]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function


def option_of(name: str, field: FieldInfo) -> inspect.Parameter:
    """The option of a field, as a parameter of a function that typer reads."""
    kind = _value_type(field.annotation)
    flag = "--" + name.replace("_", "-")
    help_text = f"{field.description}{_default(field)}"
    if get_origin(kind) is tuple:
        option: Any = Annotated[
            list[str] | None, typer.Option(flag, help=help_text, metavar=_METAVARS.get(name, "TEXT"))
        ]
    elif kind is bool:
        option = Annotated[bool | None, typer.Option(f"{flag}/--no-{flag[2:]}", help=help_text)]
    else:
        literal = get_origin(kind) is Literal
        metavar = "|".join(get_args(kind)) if literal else _METAVARS.get(kind, "TEXT")
        option = Annotated[str | None, typer.Option(flag, help=help_text, metavar=metavar)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)


def _default(field: FieldInfo) -> str:
    """The default as text; empty where the description explains it."""
    if field.default_factory is not None or not isinstance(field.default, str | int | float):
        return ""
    if isinstance(field.default, bool):
        return f"  [default: {'on' if field.default else 'off'}]"
    return f"  [default: {field.default}]" if field.default != "" else ""


def _value_type(annotation: Any) -> Any:
    """The type of a field's value without None."""
    if get_origin(annotation) in (Union, UnionType):
        return next(each for each in get_args(annotation) if each is not type(None))
    return annotation

"""Options that commands share, and the fields of `DetectParams` as options.

Values stay text until pydantic validates them, so the schema alone defines what is valid.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from selsa_server.schema.detect import DetectParams

_Function = TypeVar("_Function", bound=Callable[..., None])

ApiKeyOption = Annotated[
    str | None,
    typer.Option(envvar="SELSA_API_KEY", metavar="KEY", help="API key for the server.", show_default=False),
]

_METAVARS: Final[dict[object, str]] = {bool: "true|false", int: "INTEGER", float: "NUMBER"}


def option_name(field: str) -> str:
    """The option of a field: `--score-threshold` for `score_threshold`."""
    return "--" + field.replace("_", "-")


def with_detect_options(function: _Function) -> _Function:
    """Give `function`, which takes `**options`, one option for each field of `DetectParams`.

    typer reads options from the signature; the function still takes `**options`.
    """
    signature = inspect.signature(function)
    named = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    generated = [_parameter(name, field) for name, field in DetectParams.model_fields.items()]
    function.__signature__ = signature.replace(parameters=named + generated)  # type: ignore[attr-defined]
    return function


def params_from_options(options: Mapping[str, Any]) -> DetectParams:
    """The parameters of the options that were given.

    Raises:
        pydantic.ValidationError: a value is invalid; see `explain_invalid`.
    """
    given = {name: value for name, value in options.items() if value is not None and value != []}
    return DetectParams.model_validate(given)


def explain_invalid(error: ValidationError) -> str:
    """One line that names each invalid option, its value and what is allowed."""
    return "; ".join(_explain(dict(each)) for each in error.errors(include_url=False))


def _explain(fault: dict[str, Any]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        # A rule about several fields; its message names them.
        names = "|".join(DetectParams.model_fields)
        return re.sub(rf"\b({names})\b", lambda match: option_name(match[0]), message)
    message = re.sub(r"^(Input|String|Tuple) should", "it should", message)
    return f"{option_name(str(fault['loc'][0]))} {str(fault['input'])!r} is not allowed: {message}"


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, repeatable = _value_type(field.annotation)
    # No default value: drawings treat a requested threshold and the default one differently. If the field's
    # default is None or empty, the description explains it.
    value = str(field.default).lower() if kind is bool else field.default
    default = "" if field.default is None or repeatable else f"  [default: {value}]"
    option = typer.Option(
        option_name(name),
        help=f"{field.description}{default}",
        metavar="|".join(get_args(kind)) if get_origin(kind) is Literal else _METAVARS.get(kind, "TEXT"),
        rich_help_panel="Detection",
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[list[str] | None if repeatable else str | None, option],
    )


def _value_type(annotation: Any) -> tuple[Any, bool]:
    """The type of a field's value without None, and whether the field holds several values."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    if get_origin(annotation) is tuple:
        return str, True
    return annotation, False

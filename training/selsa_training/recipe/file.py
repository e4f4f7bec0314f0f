"""Recipes as TOML files, which contain only the differences from the published recipe."""

import tomllib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from selsa_training.recipe.errors import TrainingError
from selsa_training.recipe.recipe import Recipe, merged

MAX_FILE_BYTES: Final = 1 << 20


def packaged_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(entry.name.removesuffix(".toml") for entry in _folder() if entry.name.endswith(".toml"))


def load_recipe(name_or_path: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by its name in the package or from a TOML file.

    Args:
        name_or_path: such as `r50-dc5`, or a path that ends in `.toml`.
        overrides: `KEY=VALUE` with a dotted key and a TOML value, such as `optimiser.rate=0.00125`.

    Raises:
        TrainingError: the recipe does not exist, is not TOML, or has a value that is not allowed.
    """
    content = _read(name_or_path)
    for override in overrides:
        content = merged(content, _override(override))
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TrainingError(f"{name_or_path}: {where or 'recipe'}: {first['msg']}") from error


def _folder() -> Any:
    return files("selsa_training").joinpath("recipes").iterdir()


def _read(name_or_path: str) -> dict[str, Any]:
    if name_or_path.endswith(".toml"):
        try:
            with Path(name_or_path).open("rb") as file:
                raw = file.read(MAX_FILE_BYTES)
        except OSError as error:
            raise TrainingError(f"cannot read {name_or_path}: {error.strerror}") from error
    else:
        names = packaged_recipes()
        if name_or_path not in names:
            raise TrainingError(
                f"no recipe is called {name_or_path!r}; known are {', '.join(names)}, or name a .toml file"
            )
        raw = files("selsa_training").joinpath("recipes", f"{name_or_path}.toml").read_bytes()
    try:
        return tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"{name_or_path} is not TOML: {error}") from error


def _override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise TrainingError(f"{text!r} is not an override; write KEY=VALUE, such as optimiser.rate=0.01")
    for attempt in (value, f'"{value}"'):
        try:
            return tomllib.loads(f"{key}={attempt}")
        except tomllib.TOMLDecodeError as error:
            failure = error
    raise TrainingError(f"{text!r} is not an override: {failure}")

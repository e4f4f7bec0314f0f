"""Class names out of a file, made fit for a bundle: as many as there are classes, clean and all different."""

from collections import Counter
from typing import Final

MAX_LENGTH: Final = 100


def fitting_names(names: object, count: int) -> tuple[str, ...] | None:
    """The names, cleaned, or None where they are not `count` texts.

    Commas (they separate names in requests) and unprintable characters become spaces. An empty name becomes
    `class_INDEX`; names that occur more than once get `_INDEX` appended, so that none is lost or merged.
    """
    if not isinstance(names, list | tuple) or len(names) != count:
        return None
    if not all(isinstance(name, str) for name in names):
        return None
    clean = [_clean(name) or f"class_{index}" for index, name in enumerate(names)]
    seen = Counter(clean)
    unique = [
        name if seen[name] == 1 else f"{name[: MAX_LENGTH - 10]}_{index}" for index, name in enumerate(clean)
    ]
    # Only a list made to collide ("a", "a", "a_0") gets here.
    return tuple(unique) if len(set(unique)) == count else None


def _clean(name: str) -> str:
    spaced = "".join(
        " " if character == "," or not character.isprintable() else character for character in name
    )
    return " ".join(spaced.split())[:MAX_LENGTH]

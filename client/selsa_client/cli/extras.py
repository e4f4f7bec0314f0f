"""Parts of selsa that are installed only when asked for, and what to say when one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from selsa_client.wire.errors import SelsaError

_OURS: Final = "selsa_"


class MissingExtraError(SelsaError):
    """A command needs a package that its extra brings."""

    def __init__(self, command: str, extra: str | None, missing: str) -> None:
        if extra is None:
            message = f"`selsa {command}` needs the package {missing}: pip install selsa"
        else:
            message = f"`selsa {command}` needs the {extra} extra: pip install 'selsa[{extra}]'"
        super().__init__(message)


@contextmanager
def needs_extra(command: str, module: str) -> Iterator[None]:
    """Tell a third-party package that is missing inside as the extra of `module`'s package.

    An extra is named as its package is, without `selsa_`; the client's own needs are the base install.

    Raises:
        MissingExtraError: a package that is not ours is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        # A module of ours that is missing is a fault of this installation; no extra would bring it.
        if not missing or missing.startswith(_OURS):
            raise
        extra = module.partition(".")[0].removeprefix(_OURS)
        raise MissingExtraError(command, None if extra == "client" else extra, missing) from error

"""The user's folder of downloaded and compiled files. All of it may be deleted at any time."""

import os
from collections.abc import Mapping
from pathlib import Path

from selsa_bundle.errors import BundleError


def user_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """`SELSA_CACHE`, else `selsa` in `XDG_CACHE_HOME`, else `~/.cache/selsa`.

    Raises:
        BundleError: the user has no home folder, as in some containers.
    """
    if chosen := environment.get("SELSA_CACHE"):
        return Path(chosen).expanduser()
    base = environment.get("XDG_CACHE_HOME")
    # The XDG base directory specification says to ignore a relative path.
    if base and Path(base).is_absolute():
        return Path(base) / "selsa"
    try:
        return Path.home() / ".cache" / "selsa"
    except RuntimeError as error:
        raise BundleError("this user has no home folder; set SELSA_CACHE to a folder to use") from error

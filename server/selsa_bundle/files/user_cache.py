"""The user's folder of downloaded and compiled files. All of it may be deleted at any time."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def user_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """`SELSA_CACHE`, else `selsa` in `XDG_CACHE_HOME`, else `~/.cache/selsa`."""
    if chosen := environment.get("SELSA_CACHE"):
        return Path(chosen).expanduser()
    base = environment.get("XDG_CACHE_HOME")
    # The XDG base directory specification says to ignore a relative path.
    if base and Path(base).is_absolute():
        return Path(base) / "selsa"
    try:
        return Path.home() / ".cache" / "selsa"
    except RuntimeError:  # A container's user need not have a home.
        return Path(tempfile.gettempdir()) / f"selsa-{os.getuid()}"

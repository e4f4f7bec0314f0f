"""The folder of the bundles that may be loaded over HTTP; no path of a request leads out of it."""

import re
from pathlib import Path
from typing import Final

from selsa_server.errors import ParameterError

# Plain names with slashes between: nothing hidden, no parent, no root, no drive, no backslash.
_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
BUNDLE_PATH_PATTERN: Final = rf"^{_PART}(/{_PART}){{0,3}}$"
_ALLOWED: Final = "a folder below the server's bundle_dir, at most four plain names with / between"


class BundleFolder:
    """Finds bundles below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, path: str) -> Path:
        """The folder that `path` names, without links.

        Raises:
            ParameterError: `path` is not of the allowed form, is no folder, or it or what it holds leads out
                of the root.
        """
        if not re.fullmatch(BUNDLE_PATH_PATTERN, path):
            raise ParameterError("path", f"path is {path[:100]!r}; allowed is {_ALLOWED}.", _ALLOWED)
        try:
            root = self._root.resolve(strict=True)
            found = (root / path).resolve(strict=True)
            inside = found.is_relative_to(root) and found != root and found.is_dir()
            # The bundle's own files may be links too; special files, such as pipes, are never opened.
            inside = inside and all(_is_within(entry, root) for entry in found.iterdir())
        except (OSError, RuntimeError):
            inside = False
        if not inside:
            raise ParameterError("path", f"There is no bundle {path!r} in the server's bundle_dir.", _ALLOWED)
        return found


def _is_within(entry: Path, root: Path) -> bool:
    target = entry.resolve(strict=True)
    return target.is_relative_to(root) and (target.is_file() or target.is_dir())

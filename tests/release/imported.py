"""Imports every module of the packages that are named; prints which could not be, as JSON.

Runs in the environment that is looked at, with the standard library alone.
"""

import contextlib
import importlib
import importlib.util
import json
import pkgutil
import sys


def modules(package: str) -> list[str]:
    """The package and every module in it, however deep; found without importing any but packages."""
    found = importlib.import_module(package)
    inside = pkgutil.walk_packages(found.__path__, package + ".", onerror=lambda _: None)
    return [package, *(module.name for module in inside)]


def main() -> None:
    """Print how many were imported and why others were not."""
    failed, imported = {}, 0
    with contextlib.redirect_stdout(sys.stderr):
        for package in sys.argv[1:]:
            for name in modules(package):
                try:
                    file = importlib.import_module(name).__file__ or ""
                except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
                    failed[name] = f"{type(error).__name__}: {error}"
                else:
                    imported += 1
                    if "site-packages" not in file or sys.prefix not in file:
                        failed[name] = f"comes from {file}"
    sys.stdout.write(json.dumps({"imported": imported, "failed": failed}) + "\n")


if __name__ == "__main__":
    main()

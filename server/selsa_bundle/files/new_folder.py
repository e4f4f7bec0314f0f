"""Making a folder that appears complete or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class TargetTakenError(Exception):
    """Something is already at the place of the new folder and may not be replaced."""


def check_target(folder: Path, *, marker: str, overwrite: bool) -> None:
    """Raise unless `folder` may be made; lets a command fail before its long work.

    Args:
        marker: a file that only a folder of the same kind has; anything without it is never replaced.
        overwrite: whether an older folder of the same kind may be replaced.

    Raises:
        TargetTakenError: something is there that may not be replaced.
    """
    if not os.path.lexists(folder):
        return
    if not overwrite:
        raise TargetTakenError(f"{folder} already exists; pass --overwrite to replace it")
    if folder.is_symlink() or not (folder / marker).is_file():
        raise TargetTakenError(f"{folder} exists and has no {marker}; it will not be replaced")


@contextmanager
def new_folder(folder: Path, *, marker: str, overwrite: bool, sync: bool = True) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block ends without an exception.

    It is a sibling of `folder`, so that the final rename stays inside one file system. With `sync` its files
    are on disk before the rename, so that a power cut cannot leave the name without the contents; for a
    data set of a hundred thousand files that can be made again, pass sync=False.

    Raises:
        TargetTakenError: something is at `folder` that may not be replaced (before and after the block).
        OSError: the folder cannot be written.
    """
    check_target(folder, marker=marker, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.part"
    part.mkdir()
    try:
        yield part
        for path in part.rglob("*") if sync else ():
            if path.is_file():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
        # Checked again: another process may have written there meanwhile.
        check_target(folder, marker=marker, overwrite=overwrite)
        _take_place(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _take_place(part: Path, folder: Path) -> None:
    if not folder.exists():
        part.rename(folder)
        return
    old = part.with_suffix(".old")
    folder.rename(old)
    try:
        part.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)

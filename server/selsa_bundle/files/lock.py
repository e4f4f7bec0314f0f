"""A file lock for one process at a time. The system releases it when its holder ends, however it ends."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, wait: bool) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of `path`, an empty file. It is created and never removed: removing it would race.

    Args:
        on_wait: called once if another process holds the lock, before waiting for it.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("ab") as file:
        if not _lock(file.fileno(), wait=False):
            on_wait()
            while not _lock(file.fileno(), wait=True):
                pass
        yield

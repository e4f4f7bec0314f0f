"""What makes a process useful sooner: work in a thread meanwhile, and imports that are left out."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def started(load: Callable[[], T]) -> Callable[[], T]:
    """Start `load` in a thread; the function returned waits for its result, or raises what it raised.

    Runtimes load engines without Python's lock, so that imports run at the same time. The thread does not
    keep an interrupted process alive: compiling may take minutes.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(load())
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            future.set_exception(error)

    threading.Thread(target=run, name="selsa-load", daemon=True).start()
    return future.result


@contextmanager
def without(*modules: str, empty: bool = False) -> Iterator[None]:
    """Inside the block, importing these modules fails as if they were not installed.

    For packages that import other ones and are used without them. Modules that are imported already are not
    touched, and afterwards the others can be imported as usual.

    Args:
        empty: importing them gives empty modules instead, for packages that do not expect a failure.
    """
    hidden = [module for module in modules if module not in sys.modules]
    for module in hidden:
        # As the import system documents: importing None raises ModuleNotFoundError.
        sys.modules[module] = ModuleType(module) if empty else None  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in hidden:
            del sys.modules[module]

"""What makes a process useful sooner: work in a thread meanwhile, and imports that are left out."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
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
def without(module: str) -> Iterator[None]:
    """Inside the block, importing `module` fails as if it was not installed, unless it is imported already.

    For packages that import another one only if it is installed, and that are used without it. Afterwards
    it can be imported as usual.
    """
    if module in sys.modules:
        yield
        return
    # As the import system documents: importing it raises ModuleNotFoundError.
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]

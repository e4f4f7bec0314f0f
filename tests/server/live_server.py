"""A real server on a loopback port, for clients that must be real too."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline

from selsa_server.api.app import Lifecycle, build_app
from selsa_server.api.listener import listen
from selsa_server.api.serving import server_config
from selsa_server.service.draining import Drain
from selsa_server.settings import ServerSettings

__all__ = ["live_server", "value_of", "wait_until"]


@contextmanager
def live_server(
    engines: FakeEngines, settings: ServerSettings, *, batch: int = 1, drain: Drain | None = None
) -> Iterator[str]:
    """The address, without its scheme, of a server on fake engines; it ends early once `drain` begins."""
    listener = listen("127.0.0.1", 0)
    lifecycle = Lifecycle(drain=drain or Drain(5))
    app = build_app(fake_pipeline(engines, batch=batch), settings, lifecycle, fork_server=FORK_SERVER)
    server = uvicorn.Server(server_config(app, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started and engines.frames_run > 0)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def value_of(client: Any, name: str) -> float:
    """Of a metric, with its labels."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])

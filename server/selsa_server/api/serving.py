"""The process around the application: uvicorn, and signals that drain instead of stopping at once."""

import asyncio
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import FrameType, MappingProxyType
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp

from selsa_server.api.app import Lifecycle, LoadBundle, build_app
from selsa_server.api.connection import ConnectionLimits, HttpConnection
from selsa_server.confined.fork_server import ForkServer
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.service.draining import Drain
from selsa_server.settings import ServerSettings

# Grace for connections that the drain does not count, such as downloads of a job's results. The drain has
# waited `drain_timeout` for all others, so this needs no setting of its own.
GRACE_SECONDS: Final = 5
# Limit of open files. More would not help, and would slow down the start of other programs.
MOST_FILES: Final = 65536
# For engines, jobs, decoders and the log.
FILES_FOR_THE_REST: Final = 128
FILES_PER_CONNECTION: Final = 3


class DrainingServer(uvicorn.Server):
    """uvicorn: the first SIGTERM or SIGINT starts a drain, the second one stops at once.

    During the drain it still accepts connections, so that clients and probes get the reason of a refusal.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn for each signal."""
        del sig, frame
        if self._drain.started:
            self.force_exit = self.should_exit = True
        self._drain.begin()

    def end(self) -> None:
        """The drain is over."""
        self.should_exit = True


def connection_limits(settings: ServerSettings) -> ConnectionLimits:
    """Bounds of connections; raises the process's soft limit on open files as far as allowed."""
    return ConnectionLimits(
        header_timeout=settings.header_timeout,
        # A live stream has its own timeout, which ends with a record and may be the longer one.
        send_timeout=max(settings.send_timeout, settings.stream_timeout),
        max_connections=min(settings.max_connections, connections_allowed(raise_file_limit())),
    )


def raise_file_limit() -> int:
    """Raise the soft limit on open files of this process; returns it."""
    if sys.platform == "win32":
        return MOST_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return most
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


def connections_allowed(files: int) -> int:
    """Connections for which `files` open files are enough: each has a socket and up to two spool files."""
    return max(1, (files - FILES_FOR_THE_REST) // FILES_PER_CONNECTION)


def server_config(app: ASGIApp, settings: ServerSettings) -> uvicorn.Config:
    """How uvicorn serves the application."""
    connection = partial(HttpConnection, limits=connection_limits(settings))
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        # Fixed, because uvicorn would prefer others that Ray's extra installs.
        loop="asyncio",
        http=cast("type[asyncio.Protocol]", connection),
        # A compressed message would be unpacked before its size is checked, and video does not compress.
        ws_per_message_deflate=False,
        # While a client has to wait, its pongs are not read either; streams have their own timeouts.
        ws_ping_interval=None,
    )


def serve_until_drained(
    pipeline: DetectionPipeline,
    settings: ServerSettings,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    on_no_jobs: Callable[[str], None] = lambda _: None,
    others: Mapping[str, DetectionPipeline] = MappingProxyType({}),
    fork_server: ForkServer | None = None,
    load: LoadBundle | None = None,
) -> None:
    """Serve a pipeline, and others by name, on a socket until a signal ends it; `load` is as in `build_app`.

    Raises:
        OSError: the file of API keys cannot be read.
        ValueError: it holds no key.
    """
    drain = Drain(settings.drain_timeout)
    lifecycle = Lifecycle(
        drain=drain, on_ready=on_ready, on_drained=lambda: server.end(), on_no_jobs=on_no_jobs
    )
    app = build_app(pipeline, settings, lifecycle, others=others, load=load, fork_server=fork_server)
    server = DrainingServer(server_config(app, settings), drain)
    server.run(sockets=[listener])

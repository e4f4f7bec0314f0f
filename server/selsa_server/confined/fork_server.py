"""The process that decoders are forked from, as the server sees it.

It is a program of its own, so that it has neither the server's threads nor anything of its memory, files or
environment. It imports what decoding needs, and then only waits. A decoder is a fork of it, for one video;
a fork takes milliseconds.

Each decoder has a line, a connection to the fork server. When the server closes it, or ends, the
decoder is killed.
"""

import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

BEGUN: Final = struct.Struct("=i")  # the id of its process, or 0 if the fork failed
ENDED: Final = struct.Struct("=id")  # its status as of wait(2), and its seconds of processor time
STOP_SECONDS: Final = 5.0
# Environments contain keys and addresses, so only variables that Python and the C library use are passed on.
HANDED_ON: Final = ("PATH", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")
HANDED_ON_PREFIXES: Final = ("PYTHON", "LC_", "LD_", "DYLD_", "MALLOC_")
# One thread: no other thread may hold a lock at a fork.
SETTINGS: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}


@dataclass(frozen=True, slots=True)
class DecoderExit:
    """How a process ended.

    Attributes:
        status: as of wait(2).
        cpu_seconds: processor time that it took.
    """

    status: int
    cpu_seconds: float


class Lifeline:
    """The line to one decoder. For one thread at a time, except `cut`."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._data = b""

    def pid(self, seconds: float) -> int | None:
        """The decoder's process id, 0 if the fork failed; None if that is not known within `seconds`."""
        data = self._first(BEGUN.size, seconds)
        return None if data is None else int(BEGUN.unpack(data)[0])

    def exit(self, seconds: float) -> DecoderExit | None:
        """How the decoder ended; None if it has not within `seconds`, or the fork server is gone."""
        data = self._first(BEGUN.size + ENDED.size, seconds)
        return None if data is None else DecoderExit(*ENDED.unpack(data[BEGUN.size :]))

    def cut(self) -> None:
        """End the decoder, from any thread."""
        try:
            self._line.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the fork server is gone, and its decoders with it

    def close(self) -> None:
        """Close the line."""
        self._line.close()

    def _first(self, count: int, seconds: float) -> bytes | None:
        self._line.settimeout(seconds)
        try:
            while len(self._data) < count and (more := self._line.recv(64)):
                self._data += more
        except OSError:
            return None
        return self._data[:count] if len(self._data) >= count else None


class ForkServer:
    """Starts decoders. Safe for several threads. A context manager: leaving it ends all of them.

    The process is started by `start` or by the first `spawn`, and again if something else has killed it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Its process id; None if it does not run."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        with self._lock:
            self._running()

    def spawn(self, *handles: int) -> Lifeline:
        """A new decoder.

        Args:
            handles: file descriptors that become its 3, 4, ...; the caller still has to close its own.

        Raises:
            OSError: the fork server does not run and cannot be started.
        """
        ours, theirs = socket.socketpair()
        try:
            with self._lock:
                try:
                    socket.send_fds(self._running(), [b"d"], [theirs.fileno(), *handles])
                except (BrokenPipeError, ConnectionResetError):
                    self._end()
                    socket.send_fds(self._running(), [b"d"], [theirs.fileno(), *handles])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Lifeline(ours)

    def close(self) -> None:
        """End it and its decoders, and wait until they are gone."""
        with self._lock:
            self._end()

    def kill(self) -> None:
        """As `close`, for a fork server that no longer reacts."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
            self._end()

    def _running(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._control is None:
            ours, theirs = socket.socketpair()
            with theirs:
                command = [
                    sys.executable,
                    "-P",
                    "-m",
                    "selsa_server.confined.fork_server_main",
                    str(theirs.fileno()),
                ]
                self._process = subprocess.Popen(  # noqa: S603 - ours
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=_environment(os.environ),
                    pass_fds=[theirs.fileno()],
                    # A terminal's signals are for the server to act on.
                    start_new_session=True,
                )
            self._control = ours
        return self._control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            # Only a process that is still importing reacts to it; others see that the connection is closed.
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._control = self._process = None


def can_fork() -> bool:
    """Whether this system has what a fork server needs."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in ours.items() if k in HANDED_ON or k.startswith(HANDED_ON_PREFIXES)}
    return kept | SETTINGS

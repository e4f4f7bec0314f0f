"""The fork server's program: `python -m selsa_server.confined.fork_server_main FD`.

It has one thread and never sees a byte of an upload: it hands files on and reports how decoders ended.
"""

import gc
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import cv2

from selsa_bundle.default_bundle import sample_video
from selsa_bundle.errors import BundleError
from selsa_bundle.preprocess import Preprocess
from selsa_server.confined.channel import Channel
from selsa_server.confined.fork_server import BEGUN, ENDED
from selsa_server.confined.shared_frame import SharedFrame
from selsa_server.confined.worker import serve
from selsa_server.malloc import keep_freed_memory
from selsa_server.run_context import Stopwatch
from selsa_server.sandbox.confine import die_with_parent
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video
from selsa_server.video.prepared import prepare_frames

CHANNEL: Final = 3
FRAME: Final = 4
HANDLES: Final = 3
# If memory runs out, the kernel is to kill a decoder and not the server.
OOM_SCORE: Final = "700"


class _ForkServer:
    """The decoders and a connection for each: when the server closes it, the decoder is killed."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._lines: dict[int, socket.socket] = {}
        self._woken, wake = socket.socketpair()
        self._woken.setblocking(False)  # noqa: FBT003 - a socket's way
        wake.setblocking(False)  # noqa: FBT003
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake = wake
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def run(self) -> None:
        """Fork and reap decoders until the server closes the control connection."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    data, handles, _, _ = socket.recv_fds(self._control, 1, HANDLES)
                    if not data:
                        return
                    self._spawn(handles)
                elif key.fileobj is self._woken:
                    self._reap()
                else:
                    self._cut(key.data, key.fileobj)

    def end(self) -> None:
        """End all children."""
        for pid in self._lines:
            os.kill(pid, signal.SIGKILL)
        for pid in self._lines:
            os.waitpid(pid, 0)

    def _spawn(self, handles: list[int]) -> None:
        if len(handles) < HANDLES:  # the limit of open files was reached
            for each in handles:
                os.close(each)
            return
        line = socket.socket(fileno=handles[0])
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            _become_decoder(parent, *handles[1:])
        for each in handles[1:]:
            os.close(each)
        with suppress(OSError):
            line.send(BEGUN.pack(max(0, pid)))
        if pid < 0:
            line.close()
            return
        self._lines[pid] = line
        self._selector.register(line, selectors.EVENT_READ, pid)

    def _cut(self, pid: int, line: object) -> None:
        # Nothing is written to a line, so it is readable only at its end. The child may be reaped already.
        if self._lines.get(pid) is line:
            self._selector.unregister(self._lines[pid])
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        while self._lines:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            line = self._lines.pop(pid)
            with suppress(KeyError):
                self._selector.unregister(line)
            with suppress(OSError):
                line.send(ENDED.pack(status, usage.ru_utime + usage.ru_stime))
            line.close()


def main(handle: int) -> None:
    """Fork decoders for the server at the other end of a socket."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    cv2.setNumThreads(1)
    # Decoders inherit this setting.
    keep_freed_memory()
    _warm_up()
    # The collector skips existing objects from now on, so their pages stay shared.
    gc.collect()
    gc.freeze()
    server = _ForkServer(socket.socket(fileno=handle))
    try:
        server.run()
    finally:
        server.end()


def _warm_up() -> None:
    """Decode a packaged video, so that all decoders have the tables that FFmpeg makes at its first use."""
    with suppress(BundleError):
        sample = sample_video()
        index = index_video(sample, VideoLimits())
        clock = Stopwatch(("decode", "prepare"))
        for _ in prepare_frames(sample, index, range(2), Preprocess(), clock, tolerant=True):
            pass


def _become_decoder(parent: int, channel: int, frame: int) -> NoReturn:
    """In the child: keep these two open as `CHANNEL` and `FRAME`, close the rest, then serve orders.

    The standard streams stay open and lead to /dev/null.
    """
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        die_with_parent(parent)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
        os.dup2(1, 2)
        # First to numbers above `FRAME`, so that neither is overwritten.
        high = max(channel, frame, FRAME) + 1
        os.dup2(channel, high)
        os.dup2(frame, high + 1)
        os.dup2(high, CHANNEL)
        os.dup2(high + 1, FRAME)
        os.closerange(FRAME + 1, os.sysconf("SC_OPEN_MAX"))
        serve(Channel(socket.socket(fileno=CHANNEL)), SharedFrame(FRAME, writable=True))
    finally:
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""A real `selsa serve` process, and the memory and files of it as the kernel reports them."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ServerProcess", "serving"]

# Lines of `smaps_rollup`; the kernel has the first two since Linux 5.4.
OWN = ("Pss_Anon:", "Pss_Shmem:", "SwapPss:")


class ServerProcess:
    """A running server, seen from outside.

    Attributes:
        address: `http://host:port`.
        pid: process id; None for a remote server, whose memory and files are unknown.
    """

    def __init__(self, address: str, pid: int | None) -> None:
        self.address = address
        self.pid = pid

    def memory(self) -> int:
        """Bytes of own memory of the server, its fork server and its decoders now.

        That is the proportional set size (PSS) without pages of files. Libraries are such pages: the kernel
        divides them among all processes of the machine that map them, so the share of a server changes by
        tens of megabytes when another program starts or ends.
        """
        return sum(map(_own, _tree(self.pid))) if self.pid else 0

    def idle_memory(self) -> int:
        """The same once the decoders of the last requests have ended, which takes milliseconds."""
        deadline = time.monotonic() + 10
        # The server itself and its fork server stay.
        while self.pid and len(_tree(self.pid)) > 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.memory()

    def open_files(self) -> list[str]:
        """What the process has open, sorted."""
        found = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found.append(str(link.readlink()))
            except FileNotFoundError:
                continue  # closed meanwhile
        return sorted(found)


def _tree(pid: int) -> list[int]:
    """The process and all below it. A child is listed under the thread that started it."""
    try:
        listed = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []  # it ended meanwhile
    return [pid, *(each for children in listed for child in children for each in _tree(int(child)))]


def _own(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it ended meanwhile
    sizes = (line.split() for line in rollup.splitlines() if line.startswith(OWN))
    return sum(int(size[1]) * 1024 for size in sizes)


@contextmanager
def serving(bundle: Path, options: Sequence[str] = ()) -> Iterator[ServerProcess]:
    """Run `selsa serve` on a free loopback port during the block; it is ready when the block starts."""
    selsa = Path(sys.executable).parent / "selsa"
    command = [selsa, "serve", "--bundle", bundle, "--port", "0", "--log-level", "error", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if line.startswith("Serving ")), None)
            if line is None:
                raise SystemExit("the server did not start")
            yield ServerProcess(line.split()[-1], process.pid)
        finally:
            process.terminate()

"""A real `selsa serve` process, and its memory and files as the kernel reports them."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ServerProcess", "serving"]


class ServerProcess:
    """A running server, seen from outside.

    Attributes:
        address: `http://host:port`.
        pid: process id; None for a remote server, whose memory and files are unknown.
    """

    def __init__(self, address: str, pid: int | None) -> None:
        self.address = address
        self.pid = pid

    def resident(self) -> int:
        """Bytes of memory that the process has now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def open_files(self) -> list[str]:
        """What the process has open, sorted."""
        found = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found.append(str(link.readlink()))
            except FileNotFoundError:
                continue  # closed meanwhile
        return sorted(found)


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

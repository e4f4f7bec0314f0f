"""A PostgreSQL server from Debian's package, on a free loopback port, with its own folder."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["postgresql_programs", "running_postgresql"]


def postgresql_programs() -> Path | None:
    """The folder of `initdb` and `postgres`, or None where the package is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


@contextmanager
def running_postgresql(programs: Path) -> Iterator[str]:
    """The address `postgresql://...` of an empty database; the server ends with the block."""
    # PostgreSQL refuses to run as root.
    user = _unprivileged() if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="selsa-postgresql-"))
    try:
        if user is not None:
            shutil.chown(folder, user, user if user == "postgres" else None)
        init = [
            programs / "initdb",
            "-D",
            folder / "data",
            "-U",
            "selsa",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run(init, check=True, capture_output=True, user=user, cwd=folder)
        port = _free_port()
        options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=50"]
        command = [programs / "postgres", "-D", folder / "data", "-k", folder, "-p", str(port), *options]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log) as server,
        ):
            try:
                _wait(programs, port, server)
                yield f"postgresql://selsa@127.0.0.1:{port}/postgres"
            finally:
                server.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait(programs: Path, port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, check=False).returncode != 0:
        assert server.poll() is None, "PostgreSQL ended"
        assert time.monotonic() < deadline, "PostgreSQL does not start"
        time.sleep(0.1)

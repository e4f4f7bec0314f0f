"""A real `selsa serve` process, and clients that send it a video at the same time."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from selsa_server.bench.ways import BenchError, Way

# A server with default settings accepts this many requests at once.
MAX_CLIENTS: Final = 32
NDJSON: Final = {"Accept": "application/x-ndjson"}
# `selsa serve` without the command's script, which may not be on the PATH.
SERVE: Final = "import typer, selsa_server.cli.serve; typer.run(selsa_server.cli.serve.serve)"
SECONDS_TO_END: Final = 30


@contextmanager
def serving(way: Way) -> Iterator[str]:
    """The address of a server that runs a bundle that way, ready; it ends with the block.

    Raises:
        BenchError: it did not start; the message is the last line of its log.
    """
    given = {
        **{name: value for name, value in way.asked.items() if name != "stride"},
        "bundle": way.bundle,
        "max-batch": way.options.max_batch,
        "host": "127.0.0.1",
        "port": 0,
        "log-level": "error",
    }
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory() as folder:
        spool, log = Path(folder) / "spool", Path(folder) / "log"
        spool.mkdir()
        command = [sys.executable, "-c", SERVE, *arguments, "--spool-dir", str(spool)]
        # The user's own SELSA_ settings must not change what is measured.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SELSA_")}
        with (
            log.open("wb") as errors,
            subprocess.Popen(  # noqa: S603 - this package's code with checked options
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            ) as process,
        ):
            try:
                yield _address(process, log)
            finally:
                _end(process)


def send_at_once(clients: list[httpx.Client], video: bytes, frames: int) -> None:
    """All clients at the same time send the video and read all of its records.

    Raises:
        BenchError: an answer is incomplete.
    """
    with ThreadPoolExecutor(len(clients)) as pool:
        for emitted in pool.map(lambda client: _send(client, video), clients):
            if emitted != frames:
                raise BenchError(f"the server returned {emitted} of {frames} frames")


def _address(process: "subprocess.Popen[str]", log: Path) -> str:
    assert process.stdout is not None
    line = next((line for line in process.stdout if line.startswith("Serving ")), None)
    if line is None:
        said = log.read_text(errors="replace").strip().splitlines()
        raise BenchError(f"the server did not start: {said[-1] if said else 'its log is empty'}")
    return line.split()[-1]


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()


def _send(client: httpx.Client, video: bytes) -> int:
    """The number of frame records in one answer."""
    try:
        with client.stream("POST", "/detect", content=video, headers=NDJSON) as response:
            lines = list(response.iter_lines())
    except httpx.HTTPError as error:
        raise BenchError(f"a request failed: {type(error).__name__}: {error}") from error
    if response.status_code != 200 or '"type":"summary"' not in lines[-1]:
        raise BenchError(f"status {response.status_code}: {lines[-1][:300] if lines else ''}")
    return len(lines) - 2

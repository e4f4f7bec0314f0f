"""The most memory that a process and those it started ever held, as the kernel tells it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

SELSA = str(Path(sys.executable).parent / "selsa")


def peak_of_local(bundle: Path, video: Path, references: int) -> float:
    """MB: peak of `selsa detect --local`."""
    command = [SELSA, "detect", str(video), "--local", "--bundle", str(bundle)]
    command += ["--reference-frames", str(references)]
    peaks: dict[int, float] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            _look(process.pid, peaks)
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"detection failed with exit code {process.returncode}")
    return sum(peaks.values())


def peak_of_server(bundle: Path, video: Path, references: int) -> float:
    """MB: peak of a `selsa serve` that took the video in one POST."""
    peaks: dict[int, float] = {}
    with _serving(bundle) as (address, process):
        params = {"reference_frames": references}
        headers = {"Accept": "application/x-ndjson"}
        with (
            video.open("rb") as body,
            httpx.Client(base_url=address, timeout=None) as http,
            http.stream("POST", "/detect", content=body, params=params, headers=headers) as answer,
        ):
            answer.raise_for_status()
            last = ""
            for line in answer.iter_lines():
                _look(process.pid, peaks)
                last = line
        if '"type":"summary"' not in last:
            raise SystemExit(f"the answer is not whole: {last[:200]}")
        _look(process.pid, peaks)
    return sum(peaks.values())


def _look(pid: int, peaks: dict[int, float]) -> None:
    """Note the peaks of a process and all below it. A process that ended keeps what it had."""
    peaks[pid] = max(peaks.get(pid, 0.0), _peak_of(pid))
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        _look(int(child), peaks)


def _peak_of(pid: int) -> float:
    """MB: the largest resident size of a process so far.

    Not `ru_maxrss`: that begins with the size of the process that started it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    peak = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak[0].split()[1]) * 1024 / 1e6 if peak else 0.0


@contextmanager
def _serving(bundle: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of its own."""
    command = [SELSA, "serve", "--bundle", str(bundle), "--port", "0", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("Serving "))
            yield line.split()[-1], process
        finally:
            process.terminate()

"""Seconds until a command is useful: help, the first records of `selsa detect --local`, a ready server.

    python -m benchmarks.speed.start [--against PYTHON --against-bundle FOLDER] [--bundle NAME] [--video FILE]
        [--rounds 7] [--only help,records,ready] [--json FILE]

Every start is a new process; within a round both installations have a turn. `ready` is when the server
prints its address, after the first frame of its engines; `GET /readyz` must then answer 200. CPU seconds are
those of the process and its children until then. `--against` is the Python of another installation, with a
bundle that it can read; ratios are within a round.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report.output import write_json
from selsa_bundle.default_bundle import bundle_folder, synthetic_video
from selsa_server.bench.machine import Machine
from selsa_server.bench.report import Spread

SECONDS_TO_END = 30
TICKS = os.sysconf("SC_CLK_TCK")


def without_settings() -> dict[str, str]:
    """The environment without the user's SELSA_ settings, which must not change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SELSA_")}


@dataclass(frozen=True, slots=True)
class Installation:
    """A `selsa` command and the bundle that it runs."""

    python: Path
    bundle: Path

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [str(self.python.with_name("selsa")), *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=without_settings()
        )


@dataclass(frozen=True, slots=True)
class Start:
    """Wall and CPU seconds from the start of a process to a moment."""

    wall: float
    cpu: float


def help_shown(installation: Installation) -> dict[str, Start]:
    """Until `selsa --help` has ended."""
    before, started = os.times(), time.perf_counter()
    with installation.start("--help") as process:
        process.communicate()
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"help": Start(time.perf_counter() - started, spent)}


def first_records(installation: Installation, video: Path) -> dict[str, Start]:
    """Until `selsa detect --local` has printed the record of the video, and that of its first frame."""
    started = time.perf_counter()
    arguments = ("detect", str(video), "--local", "--bundle", str(installation.bundle), "--quiet")
    with installation.start(*arguments) as process:
        found = {}
        for name in ("first record", "first frame"):
            line = _line(process)
            found[name] = Start(time.perf_counter() - started, _cpu_seconds(process.pid))
            if not line.startswith(b"{"):
                raise SystemExit(f"error: {installation.python}: no record: {line!r}")
        process.kill()
    return found


def ready(installation: Installation) -> dict[str, Start]:
    """Until `selsa serve` is ready."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("--bundle", str(installation.bundle), "--port", "0", "--spool-dir", folder)
        started = time.perf_counter()
        with installation.start("serve", *arguments) as process:
            try:
                line = _line(process)
                found = Start(time.perf_counter() - started, _cpu_seconds(process.pid))
                address = line.decode().split()[-1]
                with urllib.request.urlopen(f"{address}/readyz", timeout=SECONDS_TO_END):
                    return {"ready": found}
            finally:
                process.terminate()
                process.wait(SECONDS_TO_END)


def _line(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    line: bytes = process.stdout.readline()
    if not line:
        raise SystemExit(f"error: {process.args!r} ended without output")
    return line


def _cpu_seconds(pid: int) -> float:
    """Of a process, its ended children and its running children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # ended, or not Linux
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS + sum(_cpu_seconds(int(child)) for child in children)


def measure(
    both: dict[str, Installation], video: Path, only: list[str], rounds: int
) -> dict[str, dict[str, list[Start]]]:
    """Every start by installation, one for each round; the first round is not counted."""
    moments: dict[str, Callable[[Installation], dict[str, Start]]] = {
        "help": help_shown,
        "records": lambda each: first_records(each, video),
        "ready": ready,
    }
    found: dict[str, dict[str, list[Start]]] = {name: {} for name in both}
    for number in range(rounds + 1):
        for each in only:
            for name, installation in both.items():
                for what, start in moments[each](installation).items():
                    if number:
                        found[name].setdefault(what, []).append(start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="PYTHON")
    parser.add_argument("--against-bundle", type=Path, help="same as --bundle if left out")
    parser.add_argument("--bundle", type=Path, default=Path("synthetic"))
    parser.add_argument("--video", type=Path, default=synthetic_video())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", type=lambda text: text.split(","), default=["help", "records", "ready"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    machine = Machine.here()
    bundle = bundle_folder(given.bundle).resolve()
    both = {"this": Installation(Path(sys.executable), bundle)}
    if given.against is not None:
        other = bundle if given.against_bundle is None else given.against_bundle.resolve()
        both["against"] = Installation(given.against.absolute(), other)
    found = measure(both, given.video.resolve(), given.only, given.rounds)
    print(machine)
    rows: dict[str, dict[str, Any]] = {}
    for what, starts in found["this"].items():
        row: dict[str, Any] = {}
        others = found.get("against", {}).get(what)
        for unit in ("wall", "cpu"):
            mine = [getattr(start, unit) for start in starts]
            row[unit] = Spread.of(mine)
            text = f"{what:14}{unit:5}{row[unit].text()} s"
            if others is not None:
                theirs = [getattr(start, unit) for start in others]
                row[f"against_{unit}"] = Spread.of(theirs)
                row[f"ratio_{unit}"] = Spread.of([a / b for a, b in zip(mine, theirs, strict=True)])
                text += f"; against{row[f'against_{unit}'].text()} s; ratio{row[f'ratio_{unit}'].text()}"
            print(text)
        rows[what] = row
    if given.json is not None:
        write_json(given.json, {"machine": machine, "starts": rows, "command": sys.argv[1:]})


if __name__ == "__main__":
    main()

"""Check and measure everything on one GPU, within a given number of minutes.

    python benchmarks/gpu_check.py --minutes 9 -o OUT [--wheels FOLDER] [--models r50-dc5,r101-dc5]
        [--provider cuda] [--batches 8,1,16,4,2] [--clients 1,8] [--bundle NAME=FOLDER] [--steps NAMES]

Needs a Python with torch, torchvision, timm and onnx, and no network. `--wheels` is a folder with the wheels
of selsa and of what that Python lacks; they are installed into OUT/site, not into that Python:

    pip wheel --no-deps -w wheels .
    pip install --dry-run --quiet --report missing.json "$(ls wheels/selsa-*.whl)[server-gpu,export]"
    python -c 'import json; print(*("{name}=={version}".format(**each["metadata"])
        for each in json.load(open("missing.json"))["install"]), sep="\\n")' | grep -v ^selsa= > missing.txt
    pip download --no-deps -d wheels -r missing.txt

The last three in a Python of the same version with the same packages.

Each step is a subprocess with a time limit, and the whole ends within its minutes. A step that fails or takes
too long is reported, and the next one runs; what took too long is tried again in the time that is left.
OUT/gpu_check.json and OUT/tables.md are written after each step and have the rounds that an interrupted one
had finished. `--provider cpu --models tiny` tries all of it without a GPU.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.gpu.gpu_tables import tables  # noqa: E402  needs the line before

SELSA = (sys.executable, "-c", "from selsa_client.cli.main import main; main()")
# Seconds that are kept for the end of the last step and for the tables.
RESERVE = 8
INTERRUPTED = 143
LOOK_SECONDS = 0.5
# A step that took too long is tried again if it can have this many times as long.
MORE = 1.5
PRECISIONS = {"cuda": "fp32,fp16", "cpu": "fp32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One part of the check.

    Attributes:
        name: unique.
        commands: run at the same time; the step is done when all of them are.
        result: JSON file that they write, if any. It may be written more than once.
        share: of all minutes that it may take.
        needs: files without which it cannot run.
        makes: what each command makes, if that is a file; a command whose file exists does not run again.
    """

    name: str
    commands: Sequence[Sequence[str]]
    result: Path | None = None
    share: float
    needs: tuple[Path, ...] = ()
    makes: tuple[Path, ...] = ()

    def left(self) -> list[Sequence[str]]:
        """The commands that have not made their file."""
        if not self.makes:
            return list(self.commands)
        return [command for command, made in zip(self.commands, self.makes, strict=True) if not made.exists()]

    def missing(self) -> str:
        """The files that it needs and that do not exist; empty if it can run."""
        return ", ".join(f"{path.parent.name}/{path.name}" for path in self.needs if not path.exists())


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a step; `status` is done, failed, too long or not run."""

    name: str
    status: str
    seconds: float = 0.0
    limit: float = 0.0
    gpu_memory_mib: float = 0.0
    host_memory_mib: float = 0.0
    error: str = ""
    result: Any = None


@dataclass(slots=True)
class Report:
    """All outcomes so far, written after each step."""

    folder: Path
    about: dict[str, Any]
    outcomes: list[Outcome] = field(default_factory=list)
    # Set by a signal, and looked at between the steps' starts, so that no process is left behind.
    interrupted: bool = False

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome; one of the same name is replaced, but its figures are not lost."""
        before = next((each for each in self.outcomes if each.name == outcome.name), None)
        if before is None:
            self.outcomes.append(outcome)
        else:
            outcome.result = outcome.result or before.result
            self.outcomes[self.outcomes.index(before)] = outcome
        found = {**self.about, "steps": [asdict(each) for each in self.outcomes]}
        _write(self.folder / "gpu_check.json", json.dumps(found, indent=1) + "\n")
        _write(self.folder / "tables.md", "\n".join(tables(found)) + "\n")
        print(f"{outcome.name}: {outcome.status}, {outcome.seconds:.0f} s {outcome.error[-200:]}", flush=True)

    def outcome(self, name: str) -> Outcome:
        return next(each for each in self.outcomes if each.name == name)


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".part-{path.name}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def run_steps(steps: Sequence[Step], report: Report, minutes: float, environment: dict[str, str]) -> None:
    """Run the steps in order, then again those that took too long, in the time that is left."""
    seconds = minutes * 60
    end = time.monotonic() + seconds - min(RESERVE, 0.1 * seconds)
    for step in steps:
        _run_if_possible(step, step.share * seconds, end, report, environment)
    for step in steps:
        before, left = report.outcome(step.name), end - time.monotonic()
        if before.status == "too long" and left > MORE * before.limit:
            _run_if_possible(step, left, end, report, environment)
        elif before.status == "not run" and not step.missing():
            _run_if_possible(step, step.share * seconds, end, report, environment)


def _run_if_possible(
    step: Step, limit: float, end: float, report: Report, environment: dict[str, str]
) -> None:
    missing, limit = step.missing(), min(limit, end - time.monotonic())
    if missing or limit <= 1:
        reason = f"needs {missing}" if missing else "no time was left"
        report.add(Outcome(name=step.name, status="not run", error=reason))
        return
    report.add(_run(step, limit, report, environment))


def _run(step: Step, limit: float, report: Report, environment: dict[str, str]) -> Outcome:
    started = time.monotonic()
    outcome = Outcome(name=step.name, status="done", limit=limit)
    log = report.folder / "logs" / f"{step.name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as said, _memory_watched(outcome):
        running: list[subprocess.Popen[bytes]] = []
        try:
            for command in step.left():
                running.append(_start(command, said, environment))
            codes = [_wait(each, started + limit, outcome, report) for each in running]
        finally:
            for each in running:
                _end(each)
    outcome.seconds = time.monotonic() - started
    if None in codes:
        outcome.status = "too long"
    elif any(codes):
        outcome.status = "failed"
    if outcome.status != "done":
        outcome.error = log.read_bytes()[-1500:].decode(errors="replace")
    if step.result is not None and step.result.is_file():
        with contextlib.suppress(ValueError):
            outcome.result = json.loads(step.result.read_bytes())
    return outcome


def _start(command: Sequence[str], log: Any, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    # A session of its own, so that its whole process group can be ended.
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def _wait(process: "subprocess.Popen[bytes]", end: float, outcome: Outcome, report: Report) -> int | None:
    """The exit code; None if the process still runs at `end`. Ends the program if it was interrupted."""
    while time.monotonic() < end:
        if report.interrupted:
            sys.exit(INTERRUPTED)
        # Not Popen.wait, which keeps no figures of the child's memory.
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            outcome.host_memory_mib = max(outcome.host_memory_mib, usage.ru_maxrss / 1024)
            return process.returncode
        time.sleep(0.05)
    return None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired, ChildProcessError):
        process.wait(2)


@contextlib.contextmanager
def _memory_watched(outcome: Outcome) -> Iterator[None]:
    """Keep the most GPU memory that `nvidia-smi` shows meanwhile."""
    tool = shutil.which("nvidia-smi")
    stop = threading.Event()

    def watch() -> None:
        command = [str(tool), "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not stop.wait(LOOK_SECONDS):
            with contextlib.suppress(OSError, ValueError, IndexError, subprocess.SubprocessError):
                said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
                outcome.gpu_memory_mib = max(outcome.gpu_memory_mib, float(said.split()[0]))

    thread = threading.Thread(target=watch, daemon=True)
    if tool is not None:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if tool is not None:
            thread.join(6)


def steps_of(given: argparse.Namespace) -> list[Step]:
    """Everything that was asked for, the most important first."""
    work: Path = given.output / "work"
    steps = [] if given.wheels is None else [_installation(given)]
    steps.append(_part("ceilings", given, "ceilings", share=0.1))
    bundles = dict(given.bundle)
    made = [model for model in given.models if model not in bundles]
    for model in made:
        bundles[model] = work / f"{model}.bundle"
    if made:
        checkpoints = tuple(work / model / "checkpoint.json" for model in made)
        exported = tuple(bundles[model] / "manifest.json" for model in made)
        init, export = [_init(model, work) for model in made], [_export(model, work) for model in made]
        steps += [
            Step(name="checkpoints", commands=init, makes=checkpoints, share=0.15),
            Step(name="bundles", commands=export, makes=exported, share=0.4),
        ]
    for model, bundle in bundles.items():
        needs = (bundle / "manifest.json",)
        measured = [_gates(given, model, bundle, needs)]
        measured += [_bench(given, model, bundle, batch, needs) for batch in given.batches]
        first = given.batches[0]
        measured.insert(2, _server(given, model, bundle, first, needs))
        if model in made:
            needs = (work / model / "checkpoint.json",)
            torch = _part(f"torch {model}", given, "in_torch", str(work / model), share=0.2, needs=needs)
            measured.insert(3, torch)
        steps += measured
    wanted = given.steps
    return [step for step in steps if not wanted or any(step.name.startswith(each) for each in wanted)]


def _installation(given: argparse.Namespace) -> Step:
    wheels = sorted(map(str, given.wheels.glob("*.whl")))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    return Step(
        name="wheels", commands=[[*command, "--target", str(given.output / "site"), *wheels]], share=0.15
    )


def _part(
    name: str, given: argparse.Namespace, module: str, *more: str, share: float, needs: tuple[Path, ...] = ()
) -> Step:
    result = given.output / "work" / f"{name.replace(' ', '-')}.json"
    command = [
        sys.executable,
        "-m",
        f"benchmarks.gpu.{module}",
        "--provider",
        given.provider,
        "--json",
        str(result),
        *more,
    ]
    return Step(name=name, commands=[command], result=result, share=share, needs=needs)


def _init(model: str, work: Path) -> list[str]:
    return [*SELSA, "init", model, "-o", str(work / model)]


def _export(model: str, work: Path) -> list[str]:
    return [*SELSA, "export", str(work / model), "-o", str(work / f"{model}.bundle"), "--native", "fp32,fp16"]


def _gates(given: argparse.Namespace, model: str, bundle: Path, needs: tuple[Path, ...]) -> Step:
    return _part(f"gates {model}", given, "gates", str(bundle), share=0.15, needs=needs)


def _bench(given: argparse.Namespace, model: str, bundle: Path, batch: int, needs: tuple[Path, ...]) -> Step:
    name = f"bench {model} batch {batch}"
    more = ["--phases", "engines,pipeline", "--frames", str(given.frames), "--batch", str(batch)]
    return _selsa_bench(name, given, bundle, more, 0.1, needs)


def _server(given: argparse.Namespace, model: str, bundle: Path, batch: int, needs: tuple[Path, ...]) -> Step:
    clients = ",".join(map(str, given.clients))
    more = ["--phases", "server", "--frames", str(given.frames), "--batch", str(batch), "--clients", clients]
    return _selsa_bench(f"server {model}", given, bundle, more, 0.15, needs)


def _selsa_bench(
    name: str, given: argparse.Namespace, bundle: Path, more: list[str], share: float, needs: tuple[Path, ...]
) -> Step:
    result = given.output / "work" / f"{name.replace(' ', '-')}.json"
    how = ["--provider", given.provider, "--precision", PRECISIONS[given.provider]]
    command = [*SELSA, "bench", "--bundle", str(bundle), *how, "--rounds", str(given.rounds)]
    return Step(
        name=name,
        commands=[[*command, *more, "--json", str(result)]],
        result=result,
        share=share,
        needs=needs,
    )


def environment_of(output: Path) -> dict[str, str]:
    """Variables of the steps: installed wheels first, and the CUDA libraries that come with torch."""
    libraries = [str(path) for path in Path(sysconfig.get_path("purelib")).glob("nvidia/*/lib")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(output / "site"), str(ROOT), os.environ.get("PYTHONPATH")])
        ),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [*libraries, os.environ.get("LD_LIBRARY_PATH")])),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder; made if it is missing")
    parser.add_argument("--wheels", type=Path, help="folder with wheels to install into OUT/site")
    parser.add_argument("--provider", choices=list(PRECISIONS), default="cuda")
    parser.add_argument("--models", type=_words, default=["r50-dc5", "r101-dc5"])
    parser.add_argument("--bundle", type=_named, action="append", default=[], help="of a model, ready made")
    parser.add_argument("--batches", type=_numbers, default=[8, 1, 16, 4, 2], help="the first one is served")
    parser.add_argument("--clients", type=_numbers, default=[1, 8])
    parser.add_argument("--frames", type=int, default=96, help="of the 1080p video")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=_words, default=[], help="only those whose name begins so")
    given = parser.parse_args()
    if given.minutes <= 0:
        parser.error("--minutes must be above 0")
    if given.wheels is not None and not list(given.wheels.glob("*.whl")):
        parser.error(f"--wheels {given.wheels}: no .whl file there")
    given.output = given.output.resolve()
    return given


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER of a bundle")
    return name, Path(folder).resolve()


def main() -> None:
    given = arguments()
    (given.output / "work").mkdir(parents=True, exist_ok=True)
    about = {
        "command": sys.argv[1:],
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "minutes": given.minutes,
        "provider": given.provider,
    }
    report = Report(given.output, about)

    def interrupt(_number: int, _frame: object) -> None:
        report.interrupted = True

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    run_steps(steps_of(given), report, given.minutes, environment_of(given.output))


if __name__ == "__main__":
    main()

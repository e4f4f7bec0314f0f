"""The GPU check ends within its minutes whatever happens, and keeps what it had."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu_check import Report, Step, run_steps, tables
from selsa_bundle.default_bundle import synthetic_bundle

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_check.py"
ABOUT = {"command": [], "started": "", "minutes": 1, "provider": "cpu"}


def step(name: str, code: str, **more) -> Step:
    return Step(name=name, commands=[[sys.executable, "-c", code]], share=more.pop("share", 1), **more)


def outcomes(folder: Path) -> dict[str, dict]:
    return {each["name"]: each for each in json.loads((folder / "gpu_check.json").read_bytes())["steps"]}


def test_a_step_that_hangs_is_ended_with_its_children_and_its_figures_are_kept(tmp_path: Path) -> None:
    pids, figures = tmp_path / "pids", tmp_path / "figures.json"
    hanging = (
        "import os, subprocess, sys, time\n"
        f"open({str(figures)!r}, 'w').write('{{\"half\": 1}}')\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(300)"
    )
    steps = [step("hangs", hanging, result=figures, share=0.25), step("next", "print('done')")]
    run_steps(steps, Report(tmp_path, ABOUT), 0.2, dict(os.environ))
    found = outcomes(tmp_path)
    assert (found["hangs"]["status"], found["hangs"]["result"]) == ("too long", {"half": 1})
    assert found["next"]["status"] == "done"
    time.sleep(0.1)
    for pid in pids.read_text().split():
        assert not _runs(int(pid))


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return str(folder).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_step_that_fails_is_reported_and_those_that_need_its_file_do_not_run(tmp_path: Path) -> None:
    steps = [
        step("fails", "raise SystemExit('no such device')"),
        step("needs it", "pass", needs=(tmp_path / "made",)),
        step("other", "pass"),
    ]
    run_steps(steps, Report(tmp_path, ABOUT), 1, dict(os.environ))
    found = outcomes(tmp_path)
    assert [each["status"] for each in found.values()] == ["failed", "not run", "done"]
    assert "no such device" in found["fails"]["error"]
    assert found["needs it"]["error"] == f"needs {tmp_path.name}/made"
    assert "| needs it | not run |" in (tmp_path / "tables.md").read_text()


def test_a_step_that_took_too_long_gets_the_time_that_is_left_and_makes_only_what_is_missing(
    tmp_path: Path,
) -> None:
    made, slow, runs = tmp_path / "made", tmp_path / "slow", tmp_path / "runs"
    quick = f"open({str(runs)!r}, 'a').write('.'); open({str(made)!r}, 'w')"
    # Hangs the first time.
    hanging = (
        f"import os, time; first = not os.path.exists({str(slow)!r} + '.tried'); "
        f"open({str(slow)!r} + '.tried', 'w'); time.sleep(300 if first else 0); open({str(slow)!r}, 'w')"
    )
    both = Step(
        name="both",
        commands=[[sys.executable, "-c", code] for code in (quick, hanging)],
        makes=(made, slow),
        share=0.1,
    )
    run_steps([both, step("after", "pass", needs=(slow,))], Report(tmp_path, ABOUT), 0.5, dict(os.environ))
    assert [each["status"] for each in outcomes(tmp_path).values()] == ["done", "done"]
    assert runs.read_text() == "."


def test_steps_for_which_no_time_is_left_do_not_run(tmp_path: Path) -> None:
    started = time.monotonic()
    steps = [step("hangs", "import time; time.sleep(300)"), step("late", "pass")]
    run_steps(steps, Report(tmp_path, ABOUT), 0.05, dict(os.environ))
    assert time.monotonic() - started < 60
    assert outcomes(tmp_path)["late"]["error"] == "no time was left"


def test_the_gates_of_the_packaged_bundle_pass_and_an_interrupted_check_keeps_them(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--provider", "cpu", "--models", "tiny", "--minutes", "5"]
    more = ["--bundle", f"tiny={synthetic_bundle()}", "--steps", "gates,bench", "--frames", "100000"]
    process = subprocess.Popen([*command, *more, "-o", str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("gates tiny: done")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if _works_in(pid, tmp_path)]
    found = outcomes(tmp_path)["gates tiny"]["result"]["rows"]
    assert [(row["graph"], row["failures"]) for row in found] == [("fp32", [])]
    assert "| tiny | fp32 | none |" in (tmp_path / "tables.md").read_text()


def test_tables_show_frames_per_second_and_the_share_of_the_ceiling() -> None:
    def spread(seconds: float) -> dict:
        return {"median": seconds}

    engines = {"frame_engine": spread(0.002), "frame_engine_batched": spread(0.001)}
    way = {
        "precision": "fp16",
        "batch": 8,
        "seconds": {**engines, "sequence_engine_batched": spread(0.0005), "pipeline": spread(0.00125)},
    }
    machine = {"accelerators": ["GPU"], "processor": "CPU", "cores": 16, "versions": {}}
    results = {
        "ceilings": {"machine": machine, "operations": {"fp16": 1e15}, "bytes": 3e12},
        "torch r50-dc5": {"operations": 2e11, "seconds": {"eager fp32": spread(0.05)}},
        "bench r50-dc5 batch 8": {"ways": [way]},
        "server r50-dc5": {"ways": [{**way, "seconds": {"server_8": spread(0.001)}}]},
    }
    usual = {"status": "done", "seconds": 1, "gpu_memory_mib": 0, "host_memory_mib": 0}
    steps = [{"name": name, "result": result, **usual} for name, result in results.items()]
    text = "\n".join(tables({**ABOUT, "steps": steps}))
    assert "| r50-dc5 | fp16 | 8 | 1000 | 20.0% | 2000 | 800 |" in text
    assert "| r50-dc5 | eager fp32 | 20.0 |" in text
    assert "| r50-dc5 | fp16 | 8 | 8 | 1000 |" in text


@pytest.mark.parametrize("arguments", [["--minutes", "0"], ["--bundle", "r50"], ["--wheels", "."]])
def test_wrong_arguments_are_refused(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "-o", str(tmp_path), *arguments]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2

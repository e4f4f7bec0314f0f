"""Kills on a batch of short videos, and of the head under a stream: `python tests/cluster/faults.py`.

A cluster of two nodes on this machine (and the driver's own), fake engines. A replica, a node and the driver
are killed with SIGKILL at random moments; after each run there must be one result for each video, equal to
that of the pipeline alone.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "server"), str(TESTS / "cluster")]

from fake_engines import FakeEngines  # noqa: E402
from fakes import fake_pipeline  # noqa: E402
from head_death import head_death  # noqa: E402
from local_cluster import OBJECT_STORE, environment, local_cluster  # noqa: E402
from media import write_video  # noqa: E402

from selsa_server.schema.detect import DetectParams  # noqa: E402

VIDEOS = 50
FRAMES = 24
SECONDS_PER_FRAME = 0.04
REPLICAS = 2
BATCH = TESTS / "cluster" / "fake_batch.py"

Records = list[dict[str, Any]]


def without_times(records: Records) -> Records:
    """The records without values that depend on the clock or the machine."""
    video = records[0] | {"model": records[0]["model"] | {"provider": ""}}
    return [video, *records[1:-1], {k: v for k, v in records[-1].items() if k not in ("seconds", "timings")}]


def expected(folder: Path) -> dict[str, Records]:
    """The pipeline's records of each video, without a cluster."""
    pipeline = fake_pipeline(FakeEngines(), batch=4)
    return {
        path.name: without_times(
            [json.loads(record.model_dump_json()) for record in pipeline.run(path, DetectParams())]
        )
        for path in sorted(folder.iterdir())
    }


def found(folder: Path) -> dict[str, Records]:
    """The written records of each video."""
    return {
        path.name.removesuffix(".ndjson"): without_times([json.loads(line) for line in path.open()])
        for path in sorted(folder.glob("*.ndjson"))
    }


def pids(title: bytes) -> list[int]:
    """Processes whose command line begins like this."""
    there = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdecimal() and (path / "cmdline").read_bytes().startswith(title):
                there.append(int(path.name))
        except OSError:
            continue
    return there


def kill_replica(nodes: Any, driver: "subprocess.Popen[str]") -> None:
    there = pids(b"ray::ServeReplica:selsa")
    if there:
        os.kill(random.choice(there), signal.SIGKILL)


def kill_node(nodes: Any, driver: "subprocess.Popen[str]") -> None:
    """Kill the raylet of a node that is not the head, and with it its processes; then add another node."""
    worker = sorted(nodes.worker_nodes, key=lambda node: node.unique_id)[0]
    for each in worker.all_processes["raylet"]:
        os.kill(each.process.pid, signal.SIGKILL)
    nodes.remove_node(worker, allow_graceful=False)
    nodes.add_node(num_cpus=2, object_store_memory=OBJECT_STORE)


def kill_driver(nodes: Any, driver: "subprocess.Popen[str]") -> None:
    driver.kill()


def run(nodes: Any, videos: Path, output: Path, kill: Callable[..., None] | None, after: float) -> int:
    """Run the batch until it has ended by itself; returns how often it was started."""
    env = os.environ | environment()
    command = [sys.executable, str(BATCH), nodes.address, str(videos), str(output)]
    command += [str(REPLICAS), str(SECONDS_PER_FRAME)]
    starts = 0
    while True:
        starts += 1
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            assert process.stdout is not None
            timer = None
            for line in process.stdout:
                if " done " in line and kill is not None and timer is None:
                    timer = threading.Timer(after, kill, (nodes, process))
                    timer.start()
            code = process.wait()
            if timer is not None:
                timer.join()
                kill = None
        if code == 0:
            return starts
        if code != -signal.SIGKILL:
            raise SystemExit(f"the batch ended with {code}")


def undisturbed(nodes: Any, videos: Path, output: Path, alone: dict[str, Records]) -> None:
    """A run without kills."""
    started = time.monotonic()
    run(nodes, videos, output, None, 0)
    assert found(output) == alone
    seconds = time.monotonic() - started
    print(f"undisturbed: {len(alone)} results, equal to the pipeline alone, {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument("--only", choices=["replica", "node", "driver", "head"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {"videos": options.videos, "frames": FRAMES, "rounds": options.rounds}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "videos"
        folder.mkdir()
        for number in range(options.videos):
            write_video(folder / f"{number:02d}.mp4", FRAMES - number % 5, codec="mpeg4")
        alone = expected(folder)
        with local_cluster([2, 2]) as nodes:
            if options.only is None:
                undisturbed(nodes, folder, Path(scratch) / "undisturbed", alone)
            for kill in (kill_replica, kill_node, kill_driver):
                if options.only not in (None, kill.__name__.removeprefix("kill_")):
                    continue
                for number in range(options.rounds):
                    after = random.uniform(0, 15)
                    output = Path(scratch) / f"{kill.__name__}-{number}"
                    started = time.monotonic()
                    starts = run(nodes, folder, output, kill, after)
                    results = found(output)
                    equal = results == alone
                    line = f"{kill.__name__} {after:.1f} s after the first result: {len(results)} results, "
                    line += f"{'all equal' if equal else 'NOT EQUAL'}, {starts} starts, "
                    print(f"{line}{time.monotonic() - started:.0f} s", flush=True)
                    report.setdefault(kill.__name__, []).append(
                        {"after": round(after, 1), "results": len(results), "equal": equal, "starts": starts}
                    )
                    assert equal
    if options.only in (None, "head"):
        report["kill_head"] = head_death()
        print(f"head: {report['kill_head']}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

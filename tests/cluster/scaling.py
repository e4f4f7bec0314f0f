"""Measure the cost and the scaling of a cluster: `python tests/cluster/scaling.py WHAT`.

replicas: videos at once on a server before 1, 2, 4, 8 replicas on two local nodes. Their engines are fake
and sleep a fixed time per frame, so that the machine's cores, which are fewer, are not what is measured.
overhead: the same requests to `selsa serve` and to `selsa serve --cluster`, in turn, on a real bundle.
sequence: the sequence engine in the server's process and in the replica, in turn, on a real bundle.
decode: core-seconds of everything but engines for a frame of 1920x1080 H.264, resized for the large models.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / name) for name in ("server", "cluster")]

import httpx  # noqa: E402
import numpy as np  # noqa: E402
import orjson  # noqa: E402
from fake_engines import FakeEngines  # noqa: E402
from fakes import fake_bundle  # noqa: E402
from local_cluster import environment, local_cluster  # noqa: E402
from media import write_video  # noqa: E402

from selsa_bundle.engine import FrameBatch  # noqa: E402
from selsa_bundle.preprocess import Preprocess  # noqa: E402
from selsa_bundle.runtimes.processor import usable_cores  # noqa: E402
from selsa_server.bench.sample_video import write_sample_video  # noqa: E402
from selsa_server.pipeline.pipeline import DetectionPipeline  # noqa: E402
from selsa_server.schema.detect import DetectParams  # noqa: E402

SERVER = TESTS / "cluster" / "cluster_server.py"
KINDS = {
    "selsa serve": "server",
    "fork_server": "decoders",
    "ServeReplica": "replica",
    "raylet/raylet ": "raylet",
}
NDJSON = {"Accept": "application/x-ndjson"}


def processor_seconds(server: int) -> Counter[str]:
    """Processor time of a server's process and of all below it, Ray's included, by what they are."""
    found: Counter[str] = Counter()
    tick = os.sysconf("SC_CLK_TCK")
    stats: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            stats[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
    below = {server}
    while more := {pid for pid, stat in stats.items() if int(stat[1]) in below} - below:
        below |= more
    for pid in below & stats.keys():
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            kind = next((kind for part, kind in KINDS.items() if part in command), "rest of Ray")
            # Of ended children too: decoders.
            times = stats[pid][11:15] if kind == "decoders" else stats[pid][11:13]
            found[kind] += sum(map(int, times)) / tick
    return found


@contextmanager
def process(command: Sequence[str], env: dict[str, str]) -> Iterator[str]:
    """The address of a server process."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | env
    ) as server:
        try:
            assert server.stdout is not None
            line = next((line for line in server.stdout if line.startswith("Serving ")), None)
            if line is None:
                raise SystemExit("the server did not start")
            yield line.split()[-1]
        finally:
            server.terminate()


def send(address: str, body: bytes) -> int:
    """Frames of one answer, which is whole."""
    response = httpx.post(f"{address}/detect", content=body, headers=NDJSON, timeout=900)
    last = orjson.loads(response.text.splitlines()[-1])
    if last["type"] != "summary":
        raise SystemExit(f"not whole: {last}")
    emitted: int = last["emitted"]
    return emitted


def rate(address: str, body: bytes, *, videos: int, at_once: int) -> float:
    """Frames a second of so many videos, so many at once."""
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        frames = sum(pool.map(lambda _: send(address, body), range(videos)))
    return frames / (time.perf_counter() - started)


def replicas(options: argparse.Namespace) -> dict[str, Any]:
    """Frames a second of 1, 2, 4 and 8 replicas, with so many videos that none of them waits for work."""
    report: dict[str, Any] = {"seconds_per_frame": options.seconds_per_frame, "rates": {}}
    with tempfile.TemporaryDirectory() as folder:
        body = write_video(Path(folder) / "video.mp4", 48, codec="mpeg4").read_bytes()
        with local_cluster([4, 4]) as nodes:
            for count in (1, 2, 4, 8):
                at_once = options.videos_per_replica * count
                env = environment() | {"REPLICAS": str(count), "CONCURRENT": str(at_once)}
                command = [sys.executable, str(SERVER), folder, nodes.address, str(options.seconds_per_frame)]
                with process(command, env) as address:
                    rate(address, body, videos=at_once, at_once=at_once)
                    found = rate(address, body, videos=2 * at_once, at_once=at_once)
                report["rates"][count] = round(found, 2)
                linear = found / (count * report["rates"][1])
                print(f"{count} replicas: {found:.2f} frames/s, {linear:.3f} of linear", flush=True)
                report.setdefault("of_linear", {})[count] = round(linear, 3)
    return report


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the same videos on a cluster of one node over those without one, in turn."""
    return _compare(options, {"alone": [], "cluster": ["--cluster"]})


def sequence(options: argparse.Namespace) -> dict[str, Any]:
    """Frames a second with the sequence engine in the server's process and in the replica, in turn."""
    return _compare(
        options,
        {
            "ingress": ["--cluster", "--sequence-engine", "ingress"],
            "replica": ["--cluster", "--sequence-engine", "replica"],
        },
    )


class _NoEngines(FakeEngines):
    """Engines that ignore the pixels."""

    def run_frames(self, frames: Any, image_size: Any) -> FrameBatch:
        return super().run_frames(np.zeros((len(frames), 16, 16, 3), np.uint8), np.full((len(frames), 2), 16))


def decode(options: argparse.Namespace) -> dict[str, Any]:
    """Processor time of this process and its children, over the frames."""
    bundle = fake_bundle(_NoEngines())
    manifest = bundle.manifest.model_copy(update={"preprocess": Preprocess(long_side=1000, short_side=600)})
    pipeline = DetectionPipeline(replace(bundle, manifest=manifest))
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        write_sample_video(video, options.frames, width=1920, height=1080)
        for number in range(options.rounds + 1):
            before = sum(os.times()[:4])
            frames = sum(record.type == "frame" for record in pipeline.run(video, DetectParams()))
            if number:
                seconds.append((sum(os.times()[:4]) - before) / frames)
    found = statistics.median(seconds)
    print(
        f"{found * 1e3:.1f} core-milliseconds a frame ({min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f})"
    )
    return {"core_seconds_per_frame": round(found, 5), "rounds": [round(each, 5) for each in seconds]}


def _children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def _compare(options: argparse.Namespace, ways: dict[str, list[str]]) -> dict[str, Any]:
    width, height = (int(part) for part in options.size.split("x"))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        video = Path(folder) / "video.mp4"
        write_sample_video(video, options.frames, width=width, height=height)
        body = video.read_bytes()
        addresses, servers = {}, {}
        spent: dict[str, Counter[str]] = {name: Counter() for name in ways}
        for name, more in ways.items():
            jobs = Path(folder) / name
            command = [
                str(Path(sys.executable).parent / "selsa"),
                "serve",
                "--port",
                "0",
                "--log-level",
                "error",
            ]
            command += ["--jobs-dir", str(jobs), "--threads", str(options.threads)]
            command += ["--bundle", str(options.bundle)] if options.bundle else []
            if "--cluster" in more:
                command += ["--object-store", str(500 << 20), "--replica-cpus", str(usable_cores())]
            before = _children()
            addresses[name] = stack.enter_context(process([*command, *more], environment()))
            (servers[name],) = _children() - before
        for number in range(options.rounds + 1):
            for name, address in addresses.items():
                start = processor_seconds(servers[name])
                found = rate(address, body, videos=options.videos, at_once=options.at_once)
                if number:
                    rates[name].append(round(found, 2))
                    spent[name] += processor_seconds(servers[name]) - start
                print(f"round {number or 'to warm up'}: {name} {found:.2f} frames/s", flush=True)
    first, second = rates.values()
    ratio = statistics.median(b / a for a, b in zip(first, second, strict=True))
    frames = options.frames * options.videos * options.rounds
    costs = {
        name: {kind: round(seconds * 1e3 / frames, 2) for kind, seconds in each.most_common()}
        for name, each in spent.items()
    }
    for name, cost in costs.items():
        print(f"{name}: core-milliseconds a frame {sum(cost.values()):.1f}, {cost}")
    names = " / ".join(reversed(ways))
    print(f"{names}: {ratio:.3f}")
    return {
        "size": options.size,
        "frames": options.frames,
        "rates": rates,
        "core_ms": costs,
        names: round(ratio, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["replicas", "overhead", "sequence", "decode"])
    parser.add_argument("--seconds-per-frame", type=float, default=0.1)
    parser.add_argument("--videos-per-replica", type=int, default=4)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--threads", type=int, default=0, help="of an engine call; 0: the server's default")
    parser.add_argument("--size", default="320x192")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run = {"replicas": replicas, "overhead": overhead, "sequence": sequence, "decode": decode}[options.what]
    report = run(options)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Frames per second of one client, of several at once, and of the pipeline without HTTP, in turn.

Each round does the same work three ways: the pipeline alone in this process, one client that sends the videos
one after another, and one client per video at the same time. Other load on the machine affects all three, so
their ratios are computed within a round, and the result is the median over the rounds.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import httpx
import orjson
from served import serving

from selsa_bundle.runtimes.load import FP32_ON_CPU, load_engines
from selsa_server.bench.sample_video import write_sample_video
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams

__all__ = ["Throughput", "Workload", "measure_throughput"]

NDJSON = {"Accept": "application/x-ndjson"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is sent: `clients` videos of `frames` frames each, `rounds` times three ways."""

    clients: int
    frames: int
    size: tuple[int, int]
    rounds: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Frames per second, medians of the rounds; the ratios are medians of those within a round.

    Attributes:
        name: of the bundle.
        pipeline: the detection pipeline in this process, one video after another.
        one: one client, one video after another.
        many: all videos at once.
        many_to_one: `many / one` of the same round.
        http_to_pipeline: `one / pipeline` of the same round.
    """

    name: str
    workload: Workload
    pipeline: float
    one: float
    many: float
    many_to_one: float
    http_to_pipeline: float
    rounds: list[tuple[float, float, float]]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def measure_throughput(
    bundle: Path,
    folder: Path,
    workload: Workload,
    options: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Throughput:
    """Measure a bundle; one more round than asked for runs first, to warm up.

    Args:
        bundle: what is served.
        folder: for the video.
        workload: what is sent.
        options: more of them for `selsa serve`.
        say: told what goes on.
    """
    video = folder / f"{workload.frames}-{workload.size[0]}x{workload.size[1]}.mp4"
    write_sample_video(video, workload.frames, width=workload.size[0], height=workload.size[1])
    pipeline = DetectionPipeline(load_engines(bundle, replace(FP32_ON_CPU, threads=workload.threads)))
    body = video.read_bytes()
    rounds = []
    with (
        serving(bundle, ["--threads", str(workload.threads), *options]) as server,
        httpx.Client(base_url=server.address, timeout=600) as client,
        ThreadPoolExecutor(workload.clients) as pool,
    ):
        for number in range(workload.rounds + 1):
            alone = _rate(workload, lambda: [_run(pipeline, video) for _ in range(workload.clients)])
            one = _rate(workload, lambda: [_send(client, body) for _ in range(workload.clients)])
            many = _rate(workload, lambda: list(pool.map(_send, [client] * workload.clients, [body] * 99)))
            say(f"round {number or 'to warm up'}: pipeline {alone:.1f}, one {one:.1f}, many {many:.1f} fps")
            rounds.append((alone, one, many))
    return _report(pipeline.bundle.manifest.name, workload, rounds[1:])


def _report(name: str, workload: Workload, rounds: list[tuple[float, float, float]]) -> Throughput:
    alone, one, many = zip(*rounds, strict=True)
    return Throughput(
        name=name,
        workload=workload,
        pipeline=statistics.median(alone),
        one=statistics.median(one),
        many=statistics.median(many),
        many_to_one=statistics.median(m / o for _, o, m in rounds),
        http_to_pipeline=statistics.median(o / a for a, o, _ in rounds),
        rounds=rounds,
    )


def _rate(workload: Workload, work: Callable[[], list[int]]) -> float:
    started = time.perf_counter()
    emitted = work()
    took = time.perf_counter() - started
    if emitted != [workload.frames] * workload.clients:
        raise SystemExit(f"frames are missing: {emitted} of {workload.frames} each")
    return sum(emitted) / took


def _run(pipeline: DetectionPipeline, video: Path) -> int:
    return sum(record.type == "frame" for record in pipeline.run(video, DetectParams()))


def _send(client: httpx.Client, body: bytes) -> int:
    """Frame records of one response, which is checked to be whole."""
    with client.stream("POST", "/detect", content=body, headers=NDJSON) as response:
        lines = list(response.iter_lines())
    if response.status_code != 200 or orjson.loads(lines[-1])["type"] != "summary":
        raise SystemExit(f"status {response.status_code}: {lines[-1]}")
    return len(lines) - 2

"""What it costs that decoders are processes of their own: the same work with and without, in turn.

In each round a video is opened, all its frames are decoded and prepared, and it is closed; then the pipeline
detects on it. What counts is the ratio within a round.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from selsa_bundle.preprocess import Preprocess
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.bench.sample_video import write_sample_video
from selsa_server.confined.decoders import ConfinedDecoders
from selsa_server.confined.fork_server import ForkServer
from selsa_server.confined.rules import DecoderRules
from selsa_server.decoders.local import LocalDecoders
from selsa_server.decoders.protocol import Decoders
from selsa_server.malloc import return_freed_memory
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.run_context import RunContext
from selsa_server.schema.detect import DetectParams
from selsa_server.video.container import VideoLimits

__all__ = ["ConfinementCost", "measure_confinement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfinementCost:
    """Seconds in this process and confined, medians over the rounds; ratios are medians of those in a round.

    Attributes:
        name: of the bundle.
        video: its size and frames.
        opening: a video, from nothing to its index, and closing it.
        frame: decoded and prepared.
        pipeline: a frame from file to detections.
    """

    name: str
    video: str
    opening: tuple[float, float]
    frame: tuple[float, float]
    frame_ratio: float
    pipeline: tuple[float, float]
    pipeline_ratio: float

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def measure_confinement(
    bundle: LoadedBundle,
    folder: Path,
    *,
    frames: int,
    size: tuple[int, int],
    rounds: int,
    say: Callable[[str], None] = lambda _: None,
) -> ConfinementCost:
    """Measure with a bundle; one more round than asked for runs first, to warm up."""
    return_freed_memory()  # as a server does
    video = folder / f"{frames}-{size[0]}x{size[1]}.mp4"
    write_sample_video(video, frames, width=size[0], height=size[1])
    measured: list[list[tuple[float, float, float]]] = []
    with closing(ForkServer()) as fork_server:
        ways: tuple[Decoders, ...] = (
            LocalDecoders(),
            ConfinedDecoders(fork_server=fork_server, rules=DecoderRules()),
        )
        for number in range(rounds + 1):
            measured.append([_round(each, bundle, video, frames) for each in ways])
            here, confined = measured[-1]
            say(f"round {number or 'to warm up'}: here {_shown(here)}; confined {_shown(confined)}")
    opening, frame, pipeline = (
        [(here[part], confined[part]) for here, confined in measured[1:]] for part in range(3)
    )
    return ConfinementCost(
        name=bundle.manifest.name,
        video=f"{size[0]}x{size[1]}, {frames} frames, OpenCV with {cv2.getNumThreads()} threads here",
        opening=_medians(opening),
        frame=_medians(frame),
        frame_ratio=statistics.median(confined / here for here, confined in frame),
        pipeline=_medians(pipeline),
        pipeline_ratio=statistics.median(confined / here for here, confined in pipeline),
    )


def _round(decoders: Decoders, bundle: LoadedBundle, video: Path, frames: int) -> tuple[float, float, float]:
    """Seconds to open and close the video, of a frame decoded, and of a frame detected on."""
    opening, decoding = _decode(decoders, bundle.manifest.preprocess, video, frames)
    pipeline = DetectionPipeline(bundle, decoders=decoders)
    started = time.perf_counter()
    emitted = sum(record.type == "frame" for record in pipeline.run(video, DetectParams()))
    if emitted != frames:
        raise SystemExit(f"frames are missing: {emitted} of {frames}")
    return opening, decoding / frames, (time.perf_counter() - started) / frames


def _decode(decoders: Decoders, preprocess: Preprocess, video: Path, frames: int) -> tuple[float, float]:
    started = time.perf_counter()
    with decoders.open(video, VideoLimits(), preprocess, RunContext()) as opened:
        run = RunContext()
        first = time.perf_counter()
        count = sum(1 for _ in opened.frames(range(frames), run, tolerant=False).items)
        last = time.perf_counter()
    if count != frames:
        raise SystemExit(f"frames are missing: {count} of {frames}")
    return first - started + time.perf_counter() - last, last - first


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    here, confined = zip(*pairs, strict=True)
    return statistics.median(here), statistics.median(confined)


def _shown(seconds: tuple[float, float, float]) -> str:
    return "open {:.1f}, decode {:.2f}, pipeline {:.2f} ms".format(*(1e3 * each for each in seconds))

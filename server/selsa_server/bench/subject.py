"""A way that runs here, with everything that it is measured on."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.bench.engine_work import EngineWork, first_frames
from selsa_server.bench.served import send_at_once, serving
from selsa_server.bench.ways import Way
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.schema.detect import DetectParams, SummaryRecord
from selsa_server.video.index import VideoIndex

PHASES = ("engines", "pipeline", "server")
# A frame takes little beside a pipeline's run, and is what that is compared with.
FRAMES_AROUND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """The video that everything is measured on."""

    path: Path
    index: VideoIndex

    @property
    def described(self) -> str:
        """Name, size and codec."""
        index = self.index
        return f"{self.path.name}, {index.width}x{index.height}, {index.codec}, {len(index)} frames"


class Subject:
    """One way to run a bundle, in whichever phases were asked for.

    Attributes:
        way: as it was asked for.
        loaded: what runs.
        work: the engines' inputs.
        pipeline: from file to detections.
        footage: the video.
    """

    def __init__(self, way: Way, loaded: LoadedBundle, footage: Footage) -> None:
        """Run the engines once, on frames of the video.

        Raises:
            EngineError: an engine failed.
            VideoError: the video cannot be decoded.
        """
        self.way = way
        self.loaded = loaded
        self.footage = footage
        frames = first_frames(loaded.manifest.preprocess, footage.path, footage.index, way.batch)
        self.work = EngineWork(loaded, frames)
        self.pipeline = DetectionPipeline(loaded, PipelineOptions(batch=way.batch))
        self._clients: dict[int, list[httpx.Client]] = {}

    @property
    def name(self) -> str:
        """Model, provider and precision, as they run."""
        info = self.loaded.engines.info
        return f"{self.loaded.manifest.name}, {info.provider} {info.precision}"

    @contextmanager
    def served(self, counts: Sequence[int]) -> Iterator[None]:
        """With a server of its own for the server phase, and `counts` of clients that are connected to it.

        Raises:
            BenchError: it did not start.
        """
        with ExitStack() as stack:
            address = stack.enter_context(serving(self.way))
            clients = [
                stack.enter_context(httpx.Client(base_url=address, timeout=3600)) for _ in range(max(counts))
            ]
            self._clients = {count: clients[:count] for count in counts}
            yield

    def round(self, phases: Sequence[str]) -> Mapping[str, float]:
        """Seconds per frame of each part; the frame engine is measured before and after the pipeline.

        Raises:
            DetectError: the pipeline failed.
            EngineError: an engine failed.
            BenchError: the server's answer is not whole.
        """
        seconds: dict[str, float] = {}
        work, batch = self.work, self.way.batch
        # What runs in this process shares the cores with threads that still wait for the work before.
        work.run_frames(1)
        around = []
        if "engines" in phases:
            around = self._single_frames()
            seconds["frame_engine_batched"] = _seconds(lambda: work.run_frames(batch)) / batch
            work.run_sequence(1)
            seconds["sequence_engine"] = _seconds(lambda: work.run_sequence(1))
            seconds["sequence_engine_batched"] = _seconds(lambda: work.run_sequence(batch)) / batch
        if "pipeline" in phases:
            emitted: list[int] = []
            took = _seconds(lambda: emitted.append(self._run_pipeline()))
            seconds["pipeline"] = took / emitted[0]
        if "engines" in phases:
            seconds["frame_engine"] = statistics.median(around + self._single_frames())
        if "server" in phases:
            seconds |= self._served_round()
        return seconds

    def _single_frames(self) -> list[float]:
        return [_seconds(lambda: self.work.run_frames(1)) for _ in range(FRAMES_AROUND)]

    def _run_pipeline(self) -> int:
        records = self.pipeline.run(self.footage.path, DetectParams())
        return next(record.emitted for record in records if isinstance(record, SummaryRecord))

    def _served_round(self) -> dict[str, float]:
        video, frames = self.footage.path.read_bytes(), len(self.footage.index)
        return {
            f"server_{count}": _seconds(lambda c=clients: send_at_once(c, video, frames)) / (count * frames)  # type: ignore[misc]
            for count, clients in self._clients.items()
        }


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun

"""One way to run a bundle, loaded, with the work that it is measured on."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import httpx
import numpy as np

from selsa_bundle.engine import ReferenceBank
from selsa_bundle.preprocess import PreparedFrame, Preprocess
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.bench.served import send_at_once, serving
from selsa_server.bench.ways import Way
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.schema.detect import DetectParams, SummaryRecord
from selsa_server.video.decode import CorruptFrame, decode_frames
from selsa_server.video.index import VideoIndex

PHASES = ("engines", "pipeline", "server")
# Single frames before and after the pipeline's run, which is compared with them.
FRAMES_AROUND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """The video that everything is measured on."""

    path: Path
    index: VideoIndex

    def first_frames(self, preprocess: Preprocess, count: int) -> list[PreparedFrame]:
        """The first `count` frames, prepared; those of a shorter video repeat."""
        decoded = decode_frames(self.path, self.index, range(min(count, len(self.index))), tolerant=False)
        whole = (frame for frame in decoded if not isinstance(frame, CorruptFrame))
        frames = [preprocess.prepare(frame.pixels) for frame in islice(whole, count)]
        return [frames[i % len(frames)] for i in range(count)]


class EngineWork:
    """Both engines of a bundle on a batch of frames, over a bank of as many frames as the bundle wants."""

    def __init__(self, bundle: LoadedBundle, frames: Sequence[PreparedFrame]) -> None:
        self._engines = bundle.engines
        self.pixels = np.stack([frame.pixels for frame in frames])
        self.sizes = np.array([frame.image_size for frame in frames], np.int64)
        self.scales = np.array([frame.scale_factor for frame in frames], np.float32)
        self.features = self._engines.run_frames(self.pixels, self.sizes)
        references = [i % len(frames) for i in range(max(1, bundle.manifest.reference_frames))]
        rows = [self.features[i : i + 1] for i in references]
        self.bank = ReferenceBank.of(rows, self._engines.dimensions)

    def run_frames(self, count: int) -> None:
        """One call of the frame engine on the first `count` frames."""
        self._engines.run_frames(self.pixels[:count], self.sizes[:count])

    def run_sequence(self, count: int) -> None:
        """One call of the sequence engine on the first `count` frames as key frames."""
        first = slice(count)
        self._engines.run_sequence(self.features[first], self.sizes[first], self.scales[first], self.bank)


class Subject:
    """One way to run a bundle. Making one runs the engines once, on frames of the video.

    Args:
        loaded: runs the pipeline.
        alone: the same bundle, runs single engine calls with all threads.
    """

    def __init__(self, way: Way, loaded: LoadedBundle, alone: LoadedBundle, footage: Footage) -> None:
        self.way, self.loaded, self.footage = way, loaded, footage
        self.work = EngineWork(alone, footage.first_frames(loaded.manifest.preprocess, way.batch))
        self.pipeline = DetectionPipeline(loaded, PipelineOptions(batch=way.batch))
        self._clients: dict[int, list[httpx.Client]] = {}

    @property
    def name(self) -> str:
        """Model, provider and precision, as they run."""
        info = self.loaded.engines.info
        return f"{self.loaded.manifest.name}, {info.provider} {info.precision}, stride {self.way.stride}"

    @contextmanager
    def served(self, counts: Sequence[int]) -> Iterator[None]:
        """Start a server for the server phase and connect clients; `counts` are the numbers of clients."""
        with ExitStack() as stack:
            address = stack.enter_context(serving(self.way))
            clients = [
                stack.enter_context(httpx.Client(base_url=address, timeout=3600, params=self.way.params))
                for _ in range(max(counts))
            ]
            self._clients = {count: clients[:count] for count in counts}
            yield

    def round(self, phases: Sequence[str]) -> Mapping[str, float]:
        """Seconds per frame of each part; single frames are measured before and after the pipeline."""
        seconds: dict[str, float] = {}
        work, batch = self.work, self.way.batch
        # Threads of the work before may still run in this process.
        work.run_frames(1)
        around = []
        if "engines" in phases:
            around = self._single_frames()
            seconds["frame_engine_batched"] = seconds_of(lambda: work.run_frames(batch)) / batch
            work.run_sequence(1)
            seconds["sequence_engine"] = seconds_of(lambda: work.run_sequence(1))
            seconds["sequence_engine_batched"] = seconds_of(lambda: work.run_sequence(batch)) / batch
        if "pipeline" in phases:
            seconds["pipeline"] = self.pipeline_seconds()
        if "engines" in phases:
            seconds["frame_engine"] = statistics.median(around + self._single_frames())
        if "server" in phases:
            video, frames = self.footage.path.read_bytes(), len(self.footage.index)
            for count, clients in self._clients.items():
                took = seconds_of(lambda c=clients: send_at_once(c, video, frames))  # type: ignore[misc]
                seconds[f"server_{count}"] = took / (count * frames)
        return seconds

    def pipeline_seconds(self) -> float:
        """Seconds per answered frame of the pipeline, from file to detections."""
        emitted: list[int] = []

        def run() -> None:
            records = self.pipeline.run(self.footage.path, DetectParams.model_validate(self.way.params))
            emitted.extend(record.emitted for record in records if isinstance(record, SummaryRecord))

        return seconds_of(run) / emitted[0]

    def _single_frames(self) -> list[float]:
        return [seconds_of(lambda: self.work.run_frames(1)) for _ in range(FRAMES_AROUND)]


def seconds_of(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

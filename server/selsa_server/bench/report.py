"""The result of a measurement, as JSON and as text."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from selsa_server.bench.machine import Machine
from selsa_server.bench.subject import Subject

Rounds = list[Mapping[str, float]]
PARTS: Final = {
    "frame_engine": "frame engine, one frame",
    "frame_engine_batched": "frame engine, in batches",
    "sequence_engine": "sequence engine, one key frame",
    "sequence_engine_batched": "sequence engine, in batches",
    "pipeline": "pipeline, file to detections",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A measured value in each round, and its median and range: seconds, or a ratio within a round."""

    median: float
    lowest: float
    highest: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summary of at least one value, one per round."""
        return cls(
            median=statistics.median(values), lowest=min(values), highest=max(values), rounds=tuple(values)
        )

    def text(self, unit: float = 1) -> str:
        """Median and range, times `unit`."""
        return f"{self.median * unit:9.2f} ({self.lowest * unit:.2f} to {self.highest * unit:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayReport:
    """One way to run a bundle; `bundle` is its digest, `why` the reason for the choice of the provider.

    Attributes:
        batch: frames in one engine call.
        stride: every n-th frame is detected on, the frames between are filled.
        padded_size: (width, height) of the frame engine's input, in pixels.
        seconds: per frame, by part: `frame_engine` and `sequence_engine` of one frame in a call, the same
            `_batched`, `pipeline` from file to detections, and `server_N` with N clients at the same time.
        times_as_fast: seconds of the first way / of this one within a round, of the last part that both have.
    """

    model: str
    bundle: str
    provider: str
    precision: str
    why: str
    threads: int
    batch: int
    stride: int
    padded_size: tuple[int, int]
    reference_frames: int
    seconds: dict[str, Spread]
    times_as_fast: Spread

    @classmethod
    def of(cls, subject: Subject, rounds: Rounds, first: Rounds) -> Self:
        """The report of one way; `first` are the rounds of the first one."""
        loaded, parts = subject.loaded, list(rounds[0])
        height, width = subject.work.pixels.shape[1:3]
        both = next(part for part in ("pipeline", "frame_engine", *parts) if part in parts)
        return cls(
            model=loaded.manifest.name,
            bundle=loaded.digest,
            provider=loaded.engines.info.provider,
            precision=loaded.engines.info.precision,
            why=loaded.why,
            threads=subject.way.options.threads,
            batch=subject.way.batch,
            stride=subject.way.stride,
            padded_size=(width, height),
            reference_frames=loaded.manifest.reference_frames,
            seconds={part: Spread.of([each[part] for each in rounds]) for part in parts},
            times_as_fast=Spread.of([a[both] / b[both] for a, b in zip(first, rounds, strict=True)]),
        )

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        provider = self.provider.removesuffix("ExecutionProvider")
        threads = self.threads or "all"
        width, height = self.padded_size
        yield (
            f"{self.model}, {width}x{height}, {provider} {self.precision}, {threads} threads, "
            f"batch {self.batch}, stride {self.stride}"
        )
        for part, spread in self.seconds.items():
            name = PARTS.get(part) or f"server, {part.removeprefix('server_')} clients at the same time"
            yield f"  {name:40} {spread.text(1e3)} ms a frame, {1 / spread.median:.1f} frames/s"
        yield f"  {'times as fast as the first':40} {self.times_as_fast.text()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A way that cannot run here: the request, and the reason."""

    asked: dict[str, str | int]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """Everything that was measured together, in `rounds` rounds after one to warm up."""

    command: tuple[str, ...]
    machine: Machine
    video: str
    frames: int
    rounds: int
    ways: tuple[WayReport, ...]
    refused: tuple[Refusal, ...]

    def text(self) -> str:
        """For a terminal: medians, with the range over the rounds in brackets."""
        lines = [str(self.machine), f"{self.video}; medians (range) of {self.rounds} rounds"]
        for way in self.ways:
            lines += ["", *way.lines()]
        for refusal in self.refused:
            asked = ", ".join(f"{name} {value}" for name, value in refusal.asked.items())
            lines.append(f"not measured: {asked}: {refusal.reason}")
        return "\n".join(lines)

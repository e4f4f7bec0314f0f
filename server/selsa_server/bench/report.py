"""What came of a measurement, for JSON, for a person and for the plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selsa_server.bench.machine import Machine
from selsa_server.bench.operators import EngineProfile
from selsa_server.bench.profile import PipelineProfile
from selsa_server.bench.rounds import Rounds, ratio, spreads
from selsa_server.bench.spread import Spread
from selsa_server.bench.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class WayReport:
    """One way to run a bundle.

    Attributes:
        model: the bundle's name.
        bundle: `sha256:` and its digest.
        provider: that ran.
        precision: that it ran in.
        why: why these.
        threads: of an engine; 0: one per physical core.
        batch: frames in one engine call.
        padded_size: (width, height) of what goes into the frame engine, in pixels.
        reference_frames: in the bank.
        seconds: per frame, by part: `frame_engine` and `sequence_engine` of one frame in a call, the same
            `_batched`, `pipeline` from file to detections, and `server_N` with N clients at the same time.
        pipeline_to_frame_engine: `pipeline / frame_engine` within a round.
        server_to_pipeline: by clients, `server_N / pipeline` within a round.
        times_as_fast: as the first way, within a round, by the furthest part that both have.
        parts: where the time of the pipeline goes; None: not asked for.
        operators: where the engines' time goes; empty: not asked for, or the runtime does not tell.
    """

    model: str
    bundle: str
    provider: str
    precision: str
    why: str
    threads: int
    batch: int
    padded_size: tuple[int, int]
    reference_frames: int
    seconds: dict[str, Spread]
    pipeline_to_frame_engine: Spread | None
    server_to_pipeline: dict[str, Spread]
    times_as_fast: Spread
    parts: PipelineProfile | None
    operators: tuple[EngineProfile, ...]

    @property
    def name(self) -> str:
        """Model, provider and precision, and what else tells ways apart."""
        provider = self.provider.removesuffix("ExecutionProvider")
        threads = f", {self.threads} threads" if self.threads else ""
        return f"{self.model}, {provider} {self.precision}{threads}, batch {self.batch}"

    @property
    def clients(self) -> dict[int, Spread]:
        """Seconds per frame of the server, by how many clients it had."""
        parts = ((name.removeprefix("server_"), spread) for name, spread in self.seconds.items())
        return {int(count): spread for count, spread in parts if count.isdecimal()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A way that cannot run here: what was asked for, and why not."""

    asked: dict[str, str | int]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """Everything that was measured together.

    Attributes:
        command: its arguments, as they were given.
        machine: where.
        video: what on.
        frames: of the video.
        rounds: that were measured, after one to warm up.
        ways: those that ran.
        refused: those that cannot run here.
    """

    command: tuple[str, ...]
    machine: Machine
    video: str
    frames: int
    rounds: int
    ways: tuple[WayReport, ...]
    refused: tuple[Refusal, ...]


def way_report(
    subject: Subject,
    rounds: Rounds,
    first: Rounds,
    *,
    parts: PipelineProfile | None,
    operators: Sequence[EngineProfile],
) -> WayReport:
    """The report of one way; `first` are the rounds of the way that it is compared with."""
    info, manifest = subject.loaded.engines.info, subject.loaded.manifest
    return WayReport(
        model=manifest.name,
        bundle=subject.loaded.digest,
        provider=info.provider,
        precision=info.precision,
        why=subject.loaded.why,
        threads=subject.way.options.threads,
        batch=subject.way.batch,
        padded_size=subject.work.padded_size,
        reference_frames=manifest.reference_frames,
        seconds=spreads(rounds),
        pipeline_to_frame_engine=ratio(rounds, "pipeline", rounds, "frame_engine"),
        server_to_pipeline=_server_to_pipeline(rounds),
        times_as_fast=_times_as_fast(first, rounds),
        parts=parts,
        operators=tuple(operators),
    )


def _server_to_pipeline(rounds: Rounds) -> dict[str, Spread]:
    served = [part for part in rounds[0] if part.startswith("server_")]
    ratios = {part.removeprefix("server_"): ratio(rounds, part, rounds, "pipeline") for part in served}
    return {clients: found for clients, found in ratios.items() if found is not None}


def _times_as_fast(first: Rounds, other: Rounds) -> Spread:
    part = next(part for part in ("pipeline", "frame_engine", *_served(first[0])) if part in first[0])
    found = ratio(first, part, other, part)
    assert found is not None
    return found


def _served(measured: Mapping[str, float]) -> list[str]:
    return [part for part in measured if part.startswith("server_")]

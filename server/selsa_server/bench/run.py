"""From ways to a report: load what can run here, measure it in turn, look into it if that was asked for."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from selsa_bundle.errors import BundleError
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.load import LoadedBundle, load_engines, prove_engines
from selsa_server.bench.errors import BenchError
from selsa_server.bench.machine import Machine
from selsa_server.bench.operators import EngineProfile, onnx_profile
from selsa_server.bench.profile import PipelineProfile, profile_pipeline
from selsa_server.bench.report import BenchReport, Refusal, WayReport, way_report
from selsa_server.bench.rounds import Rounds, measure_in_turn
from selsa_server.bench.subject import Footage, Subject
from selsa_server.bench.ways import Way
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

Load = Callable[[Path, EngineOptions], LoadedBundle]
ONNX_ON_CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How much is measured.

    Attributes:
        phases: of `engines`, `pipeline` and `server`.
        rounds: measured, after one to warm up.
        clients: of the server at the same time, each of these counts.
        profile: whether to look into where the time goes.
        command: what was given, for the report.
    """

    phases: tuple[str, ...]
    rounds: int
    clients: tuple[int, ...] = (1,)
    profile: bool = False
    command: tuple[str, ...] = ()


def load_proven(folder: Path, options: EngineOptions) -> LoadedBundle:
    """Engines that compute what the bundle's test frames must give.

    Raises:
        BundleError: they cannot be had, or do not.
    """
    loaded = load_engines(folder, options)
    prove_engines(loaded)
    return loaded


def run_bench(
    ways: Sequence[Way],
    video: Path,
    options: BenchOptions,
    *,
    say: Callable[[str], None] = lambda _: None,
    load: Load = load_proven,
) -> BenchReport:
    """Measure all ways on a video, in turn.

    Raises:
        DetectError: the video cannot be detected on.
        BundleError: an engine failed after it had been loaded.
        BenchError: none of the ways can run here, or a server's answer was not whole.
    """
    machine = Machine.here()
    footage = Footage(path=video, index=index_video(video, VideoLimits()))
    with ExitStack() as stack:
        subjects, refused = _open(ways, footage, load, say)
        subjects = _serve(subjects, refused, options, stack, say)
        if not subjects:
            raise BenchError(f"nothing of what was asked for can run here: {refused[0].reason}")
        rounds = measure_in_turn(subjects, options.phases, options.rounds, say)
    reports = [_report(*each, rounds[0], options, say) for each in zip(subjects, rounds, strict=True)]
    return BenchReport(
        command=options.command,
        machine=machine,
        video=footage.described,
        frames=len(footage.index),
        rounds=options.rounds,
        ways=tuple(reports),
        refused=tuple(refused),
    )


def _open(
    ways: Sequence[Way], footage: Footage, load: Load, say: Callable[[str], None]
) -> tuple[list[Subject], list[Refusal]]:
    loaded: dict[tuple[Path, EngineOptions], LoadedBundle | str] = {}
    subjects, refused = [], []
    for way in ways:
        key = way.bundle, way.options
        if key not in loaded:
            say(f"loading {_asked(way)}")
            try:
                loaded[key] = load(*key)
            except BundleError as error:
                loaded[key] = " ".join(str(error).split())
        found = loaded[key]
        if isinstance(found, str):
            refused.append(Refusal(asked=way.asked, reason=found))
        else:
            subjects.append(Subject(way, found, footage))
    return subjects, refused


def _serve(
    subjects: list[Subject],
    refused: list[Refusal],
    options: BenchOptions,
    stack: ExitStack,
    say: Callable[[str], None],
) -> list[Subject]:
    """A server for each, where that phase was asked for; those whose server does not start are refused."""
    if "server" not in options.phases:
        return subjects
    served = []
    for subject in subjects:
        say(f"starting a server: {subject.name}")
        try:
            stack.enter_context(subject.served(options.clients))
        except BenchError as error:
            refused.append(Refusal(asked=subject.way.asked, reason=str(error)))
        else:
            served.append(subject)
    return served


def _report(
    subject: Subject, rounds: Rounds, first: Rounds, options: BenchOptions, say: Callable[[str], None]
) -> WayReport:
    parts: PipelineProfile | None = None
    operators: list[EngineProfile] = []
    if options.profile:
        say(f"looking where the time goes: {subject.name}")
        parts = profile_pipeline(subject, options.rounds)
        if subject.loaded.engines.info.provider == ONNX_ON_CPU:
            operators = _operators(subject, options.rounds)
    return way_report(subject, rounds, first, parts=parts, operators=operators)


def _operators(subject: Subject, runs: int) -> list[EngineProfile]:
    folder, loaded = subject.way.bundle, subject.loaded
    graphs, threads = loaded.manifest.engines[loaded.variant], subject.way.options.threads
    inputs = {"frame": subject.work.frame_inputs(), "sequence": subject.work.sequence_inputs()}
    return [
        onnx_profile(name, folder / graph.file, inputs[name], threads=threads, runs=runs)
        for name, graph in sorted(graphs.items())
    ]


def _asked(way: Way) -> str:
    return ", ".join(f"{name} {value}" for name, value in way.asked.items())

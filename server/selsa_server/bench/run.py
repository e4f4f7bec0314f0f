"""Load every way that can run here and measure all of them in turn."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from selsa_bundle.errors import BundleError
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.load import LoadedBundle, load_engines, prove_engines
from selsa_server.bench.machine import Machine
from selsa_server.bench.report import BenchReport, Refusal, Rounds, WayReport
from selsa_server.bench.subject import Footage, Subject
from selsa_server.bench.ways import BenchError, Way
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

Load = Callable[[Path, EngineOptions], LoadedBundle]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How much is measured.

    Attributes:
        phases: of `engines`, `pipeline` and `server`.
        rounds: measured, after one to warm up.
        clients: numbers of clients of the server at the same time.
        command: the arguments, for the report.
    """

    phases: tuple[str, ...]
    rounds: int
    clients: tuple[int, ...] = (1,)
    command: tuple[str, ...] = ()


def load_proven(folder: Path, options: EngineOptions) -> LoadedBundle:
    """Load engines and run the bundle's gate.

    Raises:
        BundleError: the engines cannot be loaded, or compute wrongly.
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
    """Measure all ways on a video, in turn: each way once in a round, round after round.

    A machine that is busy for a while is then busy for all of them, and ratios within a round hold where
    seconds do not.

    Raises:
        DetectError: the video cannot be detected on.
        BundleError: an engine failed after it was loaded.
        BenchError: none of the ways can run here, or a server's answer was incomplete.
    """
    machine = Machine.here()
    footage = Footage(path=video, index=index_video(video, VideoLimits()))
    with ExitStack() as stack:
        subjects, refused = _open(ways, footage, load, say)
        subjects = _serve(subjects, refused, options, stack, say)
        if not subjects:
            raise BenchError(f"none of the requested ways can run here: {refused[0].reason}")
        rounds: list[Rounds] = [[] for _ in subjects]
        for number in range(options.rounds + 1):
            for subject, kept in zip(subjects, rounds, strict=True):
                say(f"{f'round {number} of {options.rounds}' if number else 'warming up'}: {subject.name}")
                measured = subject.round(options.phases)
                if number:
                    kept.append(measured)
    reports = [WayReport.of(*each, rounds[0]) for each in zip(subjects, rounds, strict=True)]
    index = footage.index
    return BenchReport(
        command=options.command,
        machine=machine,
        video=f"{video.name}, {index.width}x{index.height}, {index.codec}, {len(index)} frames",
        frames=len(index),
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
            say(f"loading {', '.join(f'{name} {value}' for name, value in way.asked.items())}")
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
    """Start a server for each in the server phase; a way whose server does not start is refused."""
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

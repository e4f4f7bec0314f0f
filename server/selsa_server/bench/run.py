"""Load every way that can run here and measure all of them in turn."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from selsa_bundle.errors import BundleError
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.load import LoadedBundle, load_engines, prove_engines
from selsa_server.bench.machine import Machine
from selsa_server.bench.report import BenchReport, Refusal, Rounds, WayReport
from selsa_server.bench.subject import Footage, Subject
from selsa_server.bench.ways import BenchError, Way
from selsa_server.pipeline.calls import CALLS
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

Load = Callable[[Path, EngineOptions], LoadedBundle]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How much is measured: phases `engines`, `pipeline`, `server`; rounds; numbers of the server's clients.

    `command` are the arguments, for the report.
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
    keep: Callable[[BenchReport], None] = lambda _: None,
    load: Load = load_proven,
) -> BenchReport:
    """Measure all ways on a video, in turn: each way once in a round, round after round.

    A machine that is busy for a while is then busy for all of them, and ratios within a round hold where
    seconds do not. `keep` gets the report of the rounds so far after each of them.

    Raises:
        DetectError: the video cannot be detected on.
        BundleError: an engine failed after it was loaded.
        BenchError: none of the ways can run here, or a server's answer was incomplete.
    """
    machine, index = Machine.here(), index_video(video, VideoLimits())
    footage, refused = Footage(path=video, index=index), list[Refusal]()
    with ExitStack() as stack:
        subjects = []
        for way, loaded, alone in _load(ways, load, options.phases, refused, say):
            subject = Subject(way, loaded, alone, footage)
            try:
                if "server" in options.phases:
                    say(f"starting a server: {subject.name}")
                    stack.enter_context(subject.served(options.clients))
            except BenchError as error:
                refused.append(Refusal(asked=way.asked, reason=str(error)))
            else:
                subjects.append(subject)
        if not subjects:
            raise BenchError(f"none of the requested ways can run here: {refused[0].reason}")
        rounds: list[Rounds] = [[] for _ in subjects]

        def report() -> BenchReport:
            return BenchReport(
                command=options.command,
                machine=machine,
                video=f"{video.name}, {index.width}x{index.height}, {index.codec}, {len(index)} frames",
                frames=len(index),
                rounds=len(rounds[0]),
                ways=tuple(WayReport.of(*each, rounds[0]) for each in zip(subjects, rounds, strict=True)),
                refused=tuple(refused),
            )

        for number in range(options.rounds + 1):
            measured = []
            for subject in subjects:
                say(f"{f'round {number} of {options.rounds}' if number else 'warming up'}: {subject.name}")
                measured.append(subject.round(options.phases))
            if number:
                rounds = [[*kept, new] for kept, new in zip(rounds, measured, strict=True)]
                keep(report())
    return report()


def _load(
    ways: Sequence[Way],
    load: Load,
    phases: Sequence[str],
    refused: list[Refusal],
    say: Callable[[str], None],
) -> Iterator[tuple[Way, LoadedBundle, LoadedBundle]]:
    """The ways that can be loaded, with the engines of the pipeline and of single calls.

    The others are added to `refused`.
    """
    load_once = cache(load)
    for way in ways:
        say(f"loading {way}")
        try:
            loaded = load_once(way.bundle, replace(way.options, calls=CALLS))
            alone = load_once(way.bundle, way.options) if "engines" in phases else loaded
        except BundleError as error:
            refused.append(Refusal(asked=way.asked, reason=" ".join(str(error).split())))
        else:
            yield way, loaded, alone

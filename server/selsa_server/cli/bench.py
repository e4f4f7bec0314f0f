"""`selsa bench`. What is heavy is imported when it runs."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from selsa_server.bench.report import BenchReport
    from selsa_server.bench.run import BenchOptions
    from selsa_server.bench.ways import Way

EXPECTED_ERROR: Final = 3
SEVERAL = "Several with commas between are measured in turn."


def bench(
    bundle: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a bundle to measure; repeatable.  [default: the packaged one]"),
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="Video to measure on.  [default: procedural, 1920x1080]")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, max=100_000, help="Frames of the procedural video.")] = 24,
    phases: Annotated[
        str,
        typer.Option(
            help="What to measure, with commas between: engines (each alone), pipeline (file to detections), "
            "server (a `selsa serve` of its own and clients that send the video)."
        ),
    ] = "engines,pipeline,server",
    batch: Annotated[str, typer.Option(help=f"Frames in one engine call. {SEVERAL}")] = "4",
    provider: Annotated[
        str, typer.Option(help=f"What runs it: auto, tensorrt, cuda, openvino or cpu. {SEVERAL}")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help=f"What it computes in: auto, fp32, bf16, fp16 or int8. {SEVERAL}")
    ] = "auto",
    threads: Annotated[str, typer.Option(help=f"Threads of an engine; 0: one per core. {SEVERAL}")] = "0",
    clients: Annotated[str, typer.Option(help=f"Clients of the server at the same time. {SEVERAL}")] = "1",
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Measured rounds, after one to warm up.")] = 3,
    profile: Annotated[bool, typer.Option("--profile", help="Also say where a frame's time goes.")] = False,  # noqa: FBT002  typer makes a flag of it
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw them, as PNG, SVG or PDF; needs the extra `plot`.")
    ] = None,
) -> None:
    """Measure bundles: the engines alone, the pipeline from file to detections, a server with clients.

    Every combination of the lists is measured, all in turn within each round; one that cannot run here is a
    line that says why. Everything is loaded at once.
    """
    from selsa_bundle.errors import BundleError
    from selsa_server.bench.errors import BenchError
    from selsa_server.bench.output import check_output
    from selsa_server.bench.picture import check_picture
    from selsa_server.errors import DetectError
    from selsa_server.malloc import keep_freed_memory

    # As `selsa detect --local` does.
    keep_freed_memory()
    try:
        if json is not None:
            check_output(json)
        if plot is not None:
            check_picture(plot)
        options = _options(phases, rounds, clients, profile=profile)
        ways = _ways(bundle, provider, precision, threads, batch)
        _write(_measure(ways, video, frames, options), json, plot)
    except (BenchError, BundleError, DetectError) as error:
        _say(f"error: {error}")
        raise typer.Exit(EXPECTED_ERROR) from error


def _options(phases: str, rounds: int, clients: str, *, profile: bool) -> "BenchOptions":
    from selsa_server.bench.errors import BenchError
    from selsa_server.bench.run import BenchOptions
    from selsa_server.bench.served import MAX_CLIENTS
    from selsa_server.bench.subject import PHASES
    from selsa_server.bench.ways import numbers_in, words_in

    chosen = words_in(phases)
    if not chosen or set(chosen) - set(PHASES):
        raise BenchError(f"--phases is {phases!r}; allowed are {', '.join(PHASES)}, with commas between.")
    return BenchOptions(
        phases=tuple(chosen),
        rounds=rounds,
        clients=tuple(numbers_in("--clients", clients, least=1, most=MAX_CLIENTS)),
        profile=profile,
        command=tuple(sys.argv[1:]),
    )


def _ways(bundles: list[Path] | None, provider: str, precision: str, threads: str, batch: str) -> "list[Way]":
    from selsa_server.bench.ways import all_ways, numbers_in, words_in
    from selsa_server.engines.bundle_choice import choose_bundle

    return all_ways(
        bundles or [choose_bundle(None, _say)],
        providers=words_in(provider) or [provider],
        precisions=words_in(precision) or [precision],
        threads=numbers_in("--threads", threads, least=0, most=1024),
        batches=numbers_in("--batch", batch, least=1, most=256),
    )


def _measure(ways: "list[Way]", video: Path | None, frames: int, options: "BenchOptions") -> "BenchReport":
    from selsa_server.bench.run import run_bench
    from selsa_server.bench.sample_video import write_sample_video

    with tempfile.TemporaryDirectory() as folder, _ended_in_order():
        if video is None:
            video = Path(folder) / "procedural.mp4"
            write_sample_video(video, frames, width=1920, height=1080)
        return run_bench(ways, video, options, say=_say)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends the block as an interrupt does: the servers that it started are not left behind."""

    def stop(number: int, frame: object) -> None:
        del frame
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(report: "BenchReport", json: Path | None, plot: Path | None) -> None:
    from selsa_server.bench.output import write_json
    from selsa_server.bench.plot import plot_report
    from selsa_server.bench.table import text_of

    typer.echo(text_of(report), nl=False)
    if json is not None:
        write_json(json, report)
    if plot is not None:
        plot_report(plot, report)


def _say(text: str) -> None:
    typer.echo(text, err=True)

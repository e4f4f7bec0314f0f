"""`selsa bench`. Heavy packages are imported when it runs."""

import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
    stride: Annotated[
        str,
        typer.Option(help=f"Detect on every n-th frame and fill those between (not in engines). {SEVERAL}"),
    ] = "1",
    provider: Annotated[
        str, typer.Option(help=f"What runs it: auto, tensorrt, cuda, openvino or cpu. {SEVERAL}")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help=f"What it computes in: auto, fp32, bf16, fp16 or int8. {SEVERAL}")
    ] = "auto",
    size: Annotated[
        str, typer.Option(help=f"Long side of frames in pixels; 0: the bundle's own. {SEVERAL}")
    ] = "0",
    threads: Annotated[str, typer.Option(help=f"Threads of an engine; 0: one per core. {SEVERAL}")] = "0",
    clients: Annotated[str, typer.Option(help=f"Clients of the server at the same time. {SEVERAL}")] = "1",
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Measured rounds, after one to warm up.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
) -> None:
    """Measure bundles: the engines alone, the pipeline from file to detections, a server with clients.

    Every combination of the lists is measured, all of them in turn within each round. A combination that
    cannot run here is listed with the reason. Everything is loaded at once.
    """
    from selsa_bundle.errors import BundleError
    from selsa_server.bench.ways import BenchError
    from selsa_server.errors import DetectError
    from selsa_server.malloc import keep_freed_memory

    # As `selsa detect --local` does.
    keep_freed_memory()
    try:
        if json is not None:
            _check_output(json)
        options = _options(phases, rounds, clients)
        ways = _ways(bundle, provider, precision, size, threads, batch, stride)
        # After each round, so that an interrupted measurement keeps its rounds.
        keep = _drop if json is None else partial(_write, path=json)
        typer.echo(_measure(ways, video, frames, options, keep).text())
        if json is not None:
            _say(f"wrote {json}")
    except (BenchError, BundleError, DetectError) as error:
        _say(f"error: {error}")
        raise typer.Exit(EXPECTED_ERROR) from error


def _check_output(path: Path) -> None:
    """Refuse a file that cannot be written before minutes are spent on measuring."""
    from selsa_server.bench.ways import BenchError

    if path.is_dir():
        raise BenchError(f"{path} is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise BenchError(f"{path}: there is no folder {path.absolute().parent}; create it first")


def _options(phases: str, rounds: int, clients: str) -> "BenchOptions":
    from selsa_server.bench.run import BenchOptions
    from selsa_server.bench.served import MAX_CLIENTS
    from selsa_server.bench.subject import PHASES
    from selsa_server.bench.ways import BenchError, numbers_in, words_in

    chosen = words_in(phases)
    if not chosen or set(chosen) - set(PHASES):
        raise BenchError(f"--phases is {phases!r}; allowed are {', '.join(PHASES)}, with commas between.")
    return BenchOptions(
        phases=tuple(chosen),
        rounds=rounds,
        clients=tuple(numbers_in("--clients", clients, least=1, most=MAX_CLIENTS)),
        command=tuple(sys.argv[1:]),
    )


def _ways(
    bundles: list[Path] | None,
    provider: str,
    precision: str,
    size: str,
    threads: str,
    batch: str,
    stride: str,
) -> "list[Way]":
    from selsa_server.bench.ways import all_ways, numbers_in, words_in
    from selsa_server.engines.bundle_choice import choose_bundle

    return all_ways(
        [choose_bundle(named, _say) for named in bundles or (None,)],
        providers=words_in(provider) or [provider],
        precisions=words_in(precision) or [precision],
        sizes=numbers_in("--size", size, least=0, most=16384),
        threads=numbers_in("--threads", threads, least=0, most=1024),
        batches=numbers_in("--batch", batch, least=1, most=256),
        strides=numbers_in("--stride", stride, least=1, most=100_000),
    )


def _measure(
    ways: "list[Way]",
    video: Path | None,
    frames: int,
    options: "BenchOptions",
    keep: "Callable[[BenchReport], None]",
) -> "BenchReport":
    from selsa_server.bench.run import run_bench
    from selsa_server.bench.sample_video import write_sample_video

    with tempfile.TemporaryDirectory() as folder, _ended_in_order():
        if video is None:
            video = Path(folder) / "procedural.mp4"
            write_sample_video(video, frames, width=1920, height=1080)
        return run_bench(ways, video, options, say=_say, keep=keep)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends the block as an interrupt does, so that its servers are stopped."""

    def stop(number: int, frame: object) -> None:
        del frame
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(report: "BenchReport", path: Path) -> None:
    import orjson

    from selsa_server.bench.ways import BenchError

    try:
        path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror or error}") from error


def _drop(_report: "BenchReport") -> None:
    """Without --json there is no file."""


def _say(text: str) -> None:
    typer.echo(text, err=True)

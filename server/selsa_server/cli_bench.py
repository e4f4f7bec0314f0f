"""`selsa bench`."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from selsa_server.bench import BenchReport, Spread

__all__ = ["bench"]

EXPECTED_ERROR: Final = 3


def bench(
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the bundle to measure.  [default: the packaged one]")
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="Video to measure on.  [default: procedural, 1920x1080]")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, max=100_000, help="Frames of the procedural video.")] = 24,
    batch: Annotated[int, typer.Option(min=1, max=256, help="Frames in one engine call.")] = 4,
    provider: Annotated[
        str, typer.Option(help="What runs it: auto, tensorrt, cuda, openvino or cpu.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="What it computes in: auto, fp32, bf16, fp16 or int8.")
    ] = "auto",
    threads: Annotated[int, typer.Option(min=0, max=1024, help="Threads of an engine; 0: one per core.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Measured rounds, after one to warm up.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
) -> None:
    """Measure a bundle: each engine alone, and the pipeline from file to detections."""
    from selsa_bundle.choice import options_named
    from selsa_bundle.errors import BundleError
    from selsa_bundle.load import load_engines, prove_engines
    from selsa_server.bench import run_bench
    from selsa_server.bundle_choice import choose_bundle
    from selsa_server.errors import DetectError
    from selsa_server.sample_video import write_sample_video

    with tempfile.TemporaryDirectory() as folder:
        try:
            options = options_named(provider, precision, threads=threads)
            loaded = load_engines(choose_bundle(bundle, _say), options)
            prove_engines(loaded)
            _say(f"{loaded.engines.info.provider} in {loaded.engines.info.precision}: {loaded.why}")
            if video is None:
                video = Path(folder) / "procedural.mp4"
                write_sample_video(video, frames, width=1920, height=1080)
            report = run_bench(loaded, video, batch=batch, rounds=rounds, say=_say)
        except (BundleError, DetectError) as error:
            _say(f"error: {error}")
            raise typer.Exit(EXPECTED_ERROR) from error
    if json is not None:
        _write_json(json, report)
    _print(report)


def _print(report: "BenchReport") -> None:
    width, height = report.padded_size
    typer.echo(
        f"{report.model} on {report.provider} in {report.precision}, {report.cores} cores, {report.machine}"
    )
    typer.echo(f"{report.video}, {report.frames} frames, engine input {width}x{height}")
    typer.echo(f"{report.reference_frames} reference frames, medians (range) of {report.rounds} rounds\n")
    rows = (
        ("frame engine, one frame", report.frame_engine),
        (f"frame engine, batch of {report.batch}", report.frame_engine_batched),
        ("sequence engine, one key frame", report.sequence_engine),
        (f"sequence engine, batch of {report.batch}", report.sequence_engine_batched),
        ("pipeline, file to detections", report.pipeline),
    )
    for name, spread in rows:
        typer.echo(f"{name:34} {_milliseconds(spread)} ms a frame")
    ratio = report.ratio
    typer.echo(
        f"{'pipeline / frame engine':34} {ratio.median:8.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})"
    )


def _milliseconds(spread: "Spread") -> str:
    low, high = spread.lowest * 1e3, spread.highest * 1e3
    return f"{spread.median * 1e3:8.1f} ({low:.1f} to {high:.1f})"


def _write_json(path: Path, report: "BenchReport") -> None:
    import orjson

    part = path.with_name(f".{path.name}.part")
    part.write_bytes(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2) + b"\n")
    part.replace(path)


def _say(text: str) -> None:
    typer.echo(text, err=True)

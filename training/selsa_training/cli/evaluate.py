"""`selsa evaluate`: how well a model detects, with and without the rest of the video.

Scores go to stdout, messages to stderr. Torch and the readers are imported inside the command, so that
`selsa --help` is quick.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from selsa_training.cli.command_line import expected_errors, progress_bars, say

if TYPE_CHECKING:
    from selsa_training.data.formats.open_data import DataSource
    from selsa_training.data.issues import IssueLog
    from selsa_training.data.records import DataSet
    from selsa_training.evaluation.comparison import Comparison, Outcome
    from selsa_training.evaluation.modes import DetectionRun
    from selsa_training.evaluation.opened_model import OpenedModel

Name = TypeVar("Name", bound=str)


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="A checkpoint, a bundle, or a training run.", show_default=False)
    ],
    *,
    data: Annotated[
        Path, typer.Option(help="A data set in any layout that check-data knows.", show_default=False)
    ],
    split: Annotated[Literal["train", "val"], typer.Option(help="Part of the data set.")] = "val",
    images_folder: Annotated[
        Path | None, typer.Option(help="Folder of a CocoVID file's images, if not beside it.")
    ] = None,
    modes: Annotated[
        list[str] | None,
        typer.Option("--mode", "--modes", help="sequence, online or single; repeatable; all if not given."),
    ] = None,
    curve: Annotated[
        list[str] | None,
        typer.Option(
            help="Also sequence mode with fewer and more reference_frames or proposals; repeatable."
        ),
    ] = None,
    reference_frames: Annotated[
        int | None,
        typer.Option(min=0, max=64, help="Number of reference frames; the model's own if not given."),
    ] = None,
    proposals: Annotated[
        int | None, typer.Option(min=1, help="Proposals per frame, in place of the checkpoint's number.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use only this many videos, the first ones.")
    ] = None,
    classes_table: Annotated[
        bool, typer.Option("--classes-table", help="Also print scores by class.")
    ] = False,
    tracks: Annotated[
        bool, typer.Option("--tracks", help="Also link detections to objects: HOTA, IDF1, MOTA, switches.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Also write everything to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into FILE.png or FILE.svg.")] = None,
    write_report: Annotated[
        bool, typer.Option("--write-report", help="Add the report to the bundle.")
    ] = False,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="A bundle runs on the cpu.")] = "cpu",
    provider: Annotated[
        str | None, typer.Option(help="What runs a bundle: openvino, cpu ...; cpu if not given.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="What it computes in: fp32, bf16, int8; fp32 if not given.")
    ] = None,
    size: Annotated[
        int, typer.Option(min=0, help="Long side of frames in pixels, at most the model's; 0: the model's.")
    ] = 0,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the engines; 0: the runtime's choice.")] = 0,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Threads that read images.")] = 2,
    batch: Annotated[int, typer.Option(min=1, max=256, help="Frames in one call of an engine.")] = 8,
) -> None:
    """Score a model on annotated videos: sequence, online and single-frame mode from the same frame features.

    Prints ImageNet VID's AP50, also by speed of the objects, and COCO's AP.
    """
    with expected_errors():
        from selsa_training.data.formats.open_data import DataSource
        from selsa_training.evaluation.comparison import compare
        from selsa_training.evaluation.curves import CURVES
        from selsa_training.evaluation.modes import DetectionRun
        from selsa_training.evaluation.opened_model import ModelOptions, open_model
        from selsa_training.evaluation.variants import MODES

        wanted = _chosen(modes or MODES, MODES, "--mode")
        curves = _chosen(curve or (), CURVES, "--curve")
        _check_outputs(curves, json, plot)
        options = ModelOptions(
            device=device,
            threads=threads,
            proposals=proposals,
            provider=provider,
            precision=precision,
            size=size,
        )
        opened = open_model(model, options)
        _check_report(opened, model, write_report=write_report)
        source = DataSource(path=data, images=images_folder, with_det=False)
        videos, issues = _read(source, split, limit, workers)
        references = opened.reference_frames if reference_frames is None else reference_frames
        kept = opened.engines.dimensions.proposals
        comparison = compare(wanted, curves, references=references, proposals=kept)
        outcome = _run(opened, videos, comparison, DetectionRun(batch=batch, workers=workers), tracks=tracks)
        settings = {
            "modes": wanted,
            "reference_frames": references,
            "proposals": kept,
            "size": opened.preprocess.long_side,
            "limit": limit,
        }
        about = _describe_run(opened.about, _describe_data(source, split, videos, issues), settings)
        _print(outcome, classes_table=classes_table)
        _write(outcome, about, json, plot, opened.bundle if write_report else None)


def _chosen(names: Sequence[str], allowed: Sequence[Name], option: str) -> list[Name]:
    """The named ones, in the order of `allowed`."""
    from selsa_training.evaluation.errors import EvaluationError

    if unknown := [name for name in names if name not in allowed]:
        raise EvaluationError(f"{option} is {unknown[0]!r}; allowed are {', '.join(allowed)}")
    return [name for name in allowed if name in names]


def _check_outputs(curve: Sequence[str], json: Path | None, plot: Path | None) -> None:
    """Refuse bad output options before the work starts."""
    from importlib.util import find_spec

    from selsa_training.evaluation.errors import EvaluationError

    if plot is not None:
        if not curve:
            raise EvaluationError("--plot draws curves; name one with --curve reference_frames or proposals")
        if plot.suffix not in (allowed := (".png", ".svg", ".pdf")):
            raise EvaluationError(f"--plot {plot}: allowed are files that end in {', '.join(allowed)}")
        if find_spec("matplotlib") is None:
            raise EvaluationError("--plot needs matplotlib: pip install 'selsa[training]'")
    for path in (json, plot):
        if path is not None and not path.parent.is_dir():
            raise EvaluationError(f"{path} cannot be written: there is no folder {path.parent}")


def _check_report(opened: "OpenedModel", model: Path, *, write_report: bool) -> None:
    from selsa_training.evaluation.errors import EvaluationError

    if write_report and opened.bundle is None:
        raise EvaluationError(f"--write-report: {model} is a checkpoint, and only a bundle holds a report")


def _read(
    source: "DataSource", split: Literal["train", "val"], limit: int | None, workers: int
) -> tuple["DataSet", "IssueLog"]:
    """Read the videos and check every image; broken data ends the command."""
    from selsa_training.data.check import check_images
    from selsa_training.data.formats.open_data import open_data
    from selsa_training.data.issues import IssueLog

    log = IssueLog()
    with progress_bars("annotations", "images") as (reading, looking):
        data = open_data(source, split, log, progress=reading)
        log.raise_if_fatal()
        if limit is not None:
            data = data.first(limit)
        check_images(data, log, decode=False, workers=workers, progress=looking)
        log.raise_if_fatal()
    if log.skipped:
        say(f"{log.skipped} annotations left out or clipped: {log.summary()}")
    return data, log


def _run(
    opened: "OpenedModel", data: "DataSet", comparison: "Comparison", run: "DetectionRun", *, tracks: bool
) -> "Outcome":
    import time
    from dataclasses import replace

    from selsa_training.evaluation.comparison import score
    from selsa_training.evaluation.metrics.labels import label_map, named
    from selsa_training.evaluation.modes import detect

    labels = label_map(opened.classes, data.classes)
    left_out = [name for name in opened.classes if name not in set(data.classes)]
    if left_out:
        say(f"{len(left_out)} classes of the model are not in the data set and left out: {named(left_out)}")
    start = time.perf_counter()
    with progress_bars("frames", "scores") as (frames, scores):
        run = replace(run, progress=frames)
        found = detect(opened.engines, data, opened.preprocess, comparison.variants, labels, run)
        seconds = time.perf_counter() - start
        outcome = score(data, comparison, found, tracks=tracks, progress=scores)
    say(f"{data.video_count} videos, {data.frame_count} frames in {seconds:.1f} s")
    return outcome


def _print(outcome: "Outcome", *, classes_table: bool) -> None:
    from selsa_training.evaluation.curves import curve_table
    from selsa_training.evaluation.metrics.scores import class_table, mode_table
    from selsa_training.evaluation.metrics.tracking import track_table

    tables = [mode_table(outcome.modes)]
    tables += [curve_table(name, curve) for name, curve in outcome.curves.items()]
    tables += [track_table(outcome.tracks)] if outcome.tracks else []
    if classes_table:
        tables += [f"{mode}\n{class_table(scores)}" for mode, scores in outcome.modes.items()]
    typer.echo("\n\n".join(tables))


def _write(
    outcome: "Outcome", about: dict[str, Any], json: Path | None, plot: Path | None, bundle: Path | None
) -> None:
    from dataclasses import asdict

    from selsa_bundle.evaluation_report import add_evaluation
    from selsa_training.evaluation.curves import curve_as_list
    from selsa_training.evaluation.errors import EvaluationError
    from selsa_training.evaluation.metrics.scores import scores_document, write_scores
    from selsa_training.evaluation.plot import plot_curves

    curves = {name: curve_as_list(curve) for name, curve in outcome.curves.items()}
    linked = {mode: asdict(scores) for mode, scores in outcome.tracks.items()}
    content = about | {"curves": curves} | ({"tracks": linked} if linked else {})
    try:
        if json is not None:
            write_scores(json, outcome.modes, content)
        if plot is not None:
            plot_curves(plot, outcome.curves, _title(about))
        if bundle is not None:
            add_evaluation(bundle, scores_document(outcome.modes, content))
    except OSError as error:
        raise EvaluationError(f"{error.filename or 'a file'} cannot be written: {error.strerror}") from error
    written = [str(path) for path in (json, plot, bundle) if path is not None]
    say(f"wrote {', '.join(written)}" if written else "wrote no file; next: --json FILE keeps the report")


def _title(about: dict[str, Any]) -> str:
    data = about["data"]
    split = f", {data['split']}" if data["split"] else ""
    return f"{about['model']['name']} on {Path(data['path']).name}{split}: {data['videos']} videos"


def _describe_run(model: dict[str, Any], data: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The head of a report: version, time, model, data and settings, enough to repeat the evaluation."""
    from datetime import UTC, datetime
    from importlib.metadata import version

    return {
        "made_by": "selsa evaluate",
        "selsa": version("selsa"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model,
        "data": data,
        "settings": settings,
    }


def _describe_data(source: "DataSource", split: str, data: "DataSet", log: "IssueLog") -> dict[str, Any]:
    """The data of an evaluation.

    Args:
        source: as given on the command line.
        split: part of the data set; ignored for a CocoVID file, which is one part.
        log: problems of the annotations.

    Raises:
        EvaluationError: the settings of a synthetic data set exist and cannot be read.
    """
    return {
        "path": str(source.path),
        "split": None if source.path.suffix == ".json" else split,
        "videos": data.video_count,
        "frames": data.frame_count,
        "objects": data.object_count,
        "issues": dict(log.counts),
        "synthesis": _synthesis(source.path),
    }


def _synthesis(path: Path) -> Any:
    """The settings of a synthetic data set; None for any other data set."""
    import json

    from selsa_training.data.synthetic.write import MARKER
    from selsa_training.evaluation.errors import EvaluationError

    place = (path.parent if path.suffix == ".json" else path) / MARKER
    if not place.is_file():
        return None
    try:
        return json.loads(place.read_bytes())
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{place} cannot be read: {error}") from error

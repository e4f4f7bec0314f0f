"""`selsa export`. Torch is imported inside the command, so that `selsa --help` is quick."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from selsa_export.cli.options import (
    CalibrateOption,
    DataOption,
    LimitOption,
    PrecisionOption,
    SplitOption,
    plan_of,
)

if TYPE_CHECKING:
    from selsa_export.precision.plan import PrecisionPlan

EXPECTED_ERROR: Final = 3


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the new bundle.", show_default=False)
    ],
    frames: Annotated[
        Path | None,
        typer.Option(
            help="Video or folder of pictures to compare the engines with torch on.  "
            "[default: a procedural clip]",
            show_default=False,
        ),
    ] = None,
    native: Annotated[
        str,
        typer.Option(
            help="Also write graphs that TensorRT engines can be built from: fp32, fp16 or both with a comma "
            "between, or none, which makes the bundle smaller."
        ),
    ] = "fp32,fp16",
    reference_proposals: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Proposals of a reference frame that key frames attend to, the best ones. Fewer make the "
            "sequence engine faster and change detections.  [default: as the model was trained]",
        ),
    ] = None,
    precision: PrecisionOption = "fp32",
    calibrate: CalibrateOption = None,
    data: DataOption = None,
    split: SplitOption = "val",
    limit: LimitOption = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Name of the model for people.  [default: its name]")
    ] = None,
    description: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What the model detects and what it is for.  [default: its classes and origin]",
        ),
    ] = None,
    warning: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the model must not be used for; shown to every user."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older bundle.")] = False,  # noqa: FBT002  typer makes a flag of it
) -> None:
    """Export a checkpoint as a bundle: two ONNX engines, compared with torch, and a manifest."""
    from selsa_bundle.errors import BundleError
    from selsa_bundle.files.new_folder import TargetTakenError, check_target
    from selsa_bundle.manifest import MANIFEST_NAME
    from selsa_export.errors import ExportError
    from selsa_training.checkpoint.errors import CheckpointError
    from selsa_training.data.errors import DataError

    expected = (BundleError, ExportError, CheckpointError, DataError, TargetTakenError)
    try:
        check_target(output, marker=MANIFEST_NAME, overwrite=overwrite)
        plan = plan_of(precision, calibrate, data, split, limit)
        words = {"title": title, "description": description, "warning": warning}
        _export(checkpoint, output, frames, native, plan, words, reference_proposals, overwrite=overwrite)
    except expected as error:
        _say(f"error: {error}")
        raise typer.Exit(EXPECTED_ERROR) from error
    except OSError as error:
        _say(f"error: cannot write {output}: {error.strerror or error}")
        raise typer.Exit(EXPECTED_ERROR) from error
    _say(f"wrote the bundle {output}; next: selsa serve --bundle {output}")
    typer.echo(output)


def _export(
    folder: Path,
    output: Path,
    frames: Path | None,
    native: str,
    plan: "PrecisionPlan | None",
    words: dict[str, str | None],
    reference_proposals: int | None,
    *,
    overwrite: bool,
) -> None:
    from selsa_export.errors import ExportError

    if plan is not None and "fp16" in plan.precisions and "fp16" not in native:
        raise ExportError(f"--precision fp16 needs the native graphs in fp16; --native is {native}")

    from selsa_export.bundle import about_of, export_bundle, with_reference_proposals
    from selsa_export.parity.frames import procedural_frames, read_frames
    from selsa_export.parity.native_bundle import native_precisions
    from selsa_training.checkpoint.checkpoint import load_checkpoint

    natives = native_precisions(native)
    # Read the frames first, so that a wrong path fails before the export, which takes minutes.
    clip = procedural_frames() if frames is None else read_frames(frames)
    described = "procedural clip" if frames is None else frames.name
    _say(f"reading {folder}")
    loaded = load_checkpoint(folder)
    if reference_proposals is not None:
        loaded = with_reference_proposals(loaded, reference_proposals)
    about = about_of(loaded, **words)
    report = export_bundle(
        loaded,
        output,
        clip,
        described,
        overwrite=overwrite,
        natives=natives,
        precisions=plan,
        about=about,
        say=_say,
    )
    _say(
        f"{report.detections - report.detections_unmatched} of {report.detections} detections matched, "
        f"scores within {report.detection_score:.1e}, corners within {report.detection_corner:.1e} px"
    )


def _say(text: str) -> None:
    typer.echo(text, err=True)

"""`selsa export`. Torch is imported inside the command, so that `selsa --help` is quick."""

from pathlib import Path
from typing import Annotated, Final

import typer

__all__ = ["export"]

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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older bundle.")] = False,  # noqa: FBT002  typer makes a flag of it
) -> None:
    """Export a checkpoint as a bundle: two ONNX engines, compared with torch, and a manifest."""
    from selsa_bundle.errors import BundleError
    from selsa_bundle.manifest import MANIFEST_NAME
    from selsa_bundle.new_folder import TargetTakenError, check_target
    from selsa_export.errors import ExportError
    from selsa_training.checkpoint_errors import CheckpointError

    try:
        check_target(output, marker=MANIFEST_NAME, overwrite=overwrite)
        _export(checkpoint, output, frames, overwrite=overwrite)
    except (BundleError, ExportError, CheckpointError, TargetTakenError) as error:
        _say(f"error: {error}")
        raise typer.Exit(EXPECTED_ERROR) from error
    except OSError as error:
        _say(f"error: cannot write {output}: {error.strerror or error}")
        raise typer.Exit(EXPECTED_ERROR) from error
    typer.echo(output)


def _export(folder: Path, output: Path, frames: Path | None, *, overwrite: bool) -> None:
    from selsa_export.bundle import export_bundle
    from selsa_export.parity_frames import procedural_frames, read_frames
    from selsa_training.checkpoint import load_checkpoint

    # Read first: a wrong path should not cost the minutes of an export.
    clip = procedural_frames() if frames is None else read_frames(frames)
    described = "procedural clip" if frames is None else frames.name
    _say(f"reading {folder}")
    report = export_bundle(load_checkpoint(folder), output, clip, described, overwrite=overwrite, say=_say)
    _say(
        f"{report.detections - report.detections_unmatched} of {report.detections} detections matched, "
        f"scores within {report.detection_score:.1e}, corners within {report.detection_corner:.1e} px"
    )


def _say(text: str) -> None:
    typer.echo(text, err=True)

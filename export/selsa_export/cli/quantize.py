"""`selsa quantize`: add precisions to an existing bundle, without its checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from selsa_export.cli.options import (
    CalibrateOption,
    DataOption,
    LimitOption,
    PrecisionOption,
    SplitOption,
    plan_of,
)
from selsa_training.cli.command_line import expected_errors, say

EXPECTED_ERROR = 3


def quantize(
    bundle: Annotated[
        Path, typer.Argument(help="Folder of a bundle, or a packaged one's name.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the new bundle.", show_default=False)
    ],
    precision: PrecisionOption = "fp32,int8",
    calibrate: CalibrateOption = None,
    data: DataOption = None,
    split: SplitOption = "val",
    limit: LimitOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older bundle.")] = False,  # noqa: FBT002  typer makes a flag of it
) -> None:
    """Copy a bundle, add int8 graphs to it, and measure what each precision costs and changes."""
    with expected_errors():
        from selsa_bundle.default_bundle import bundle_folder
        from selsa_bundle.errors import BundleError
        from selsa_bundle.files.new_folder import check_target
        from selsa_bundle.manifest import MANIFEST_NAME
        from selsa_export.errors import ExportError
        from selsa_export.precision.bundle import quantize_bundle
        from selsa_export.precision.summary import summary_of

        try:
            check_target(output, marker=MANIFEST_NAME, overwrite=overwrite)
            plan = plan_of(precision, calibrate, data, split, limit)
            report = quantize_bundle(bundle_folder(bundle), output, plan, overwrite=overwrite, say=say)
        except ExportError as error:
            say(f"error: {error}")
            raise typer.Exit(EXPECTED_ERROR) from error
        except OSError as error:
            raise BundleError(f"cannot write {output}: {error.strerror or error}") from error
    if report is not None:
        for line in summary_of(report):
            say(line)
    say(f"wrote the bundle {output}; next: selsa serve --bundle {output}")
    typer.echo(output)

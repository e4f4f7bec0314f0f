"""Options of `selsa export` and `selsa quantize` that choose the precisions of a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from selsa_export.precision.plan import PrecisionPlan

PrecisionOption = Annotated[
    str,
    typer.Option(
        help="Precisions to make graphs for and to measure: fp32, bf16, fp16, int8, with commas between. "
        "In place of TensorRT (fp16, int8), ONNX Runtime is measured."
    ),
]
CalibrateOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="A typical video, to calibrate int8 and to compare detections on; repeatable.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(help="Data set to measure the AP50 of each precision on.", show_default=False),
]
SplitOption = Annotated[Literal["train", "val"], typer.Option(help="Which part of --data.")]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="Use only this many videos of --data, the first ones.")
]


def plan_of(
    precision: str,
    calibrate: list[Path] | None,
    data: Path | None,
    split: Literal["train", "val"],
    limit: int | None,
) -> "PrecisionPlan | None":
    """The plan for these options; None if the only precision is fp32, which needs no measurement.

    Raises:
        ExportError: a precision is unknown or cannot be measured here, a video cannot be read, or int8 is
            requested without a video.
        DataError: the data set cannot be read.
    """
    from selsa_export.errors import ExportError
    from selsa_export.precision.frames import procedural_clips, read_clips
    from selsa_export.precision.measure import open_precision_data
    from selsa_export.precision.plan import PrecisionPlan, check_precisions
    from selsa_training.data.formats.open_data import DataSource

    precisions = check_precisions(precision)
    if set(precisions) <= {"fp32"}:
        return None
    if "int8" in precisions and not calibrate:
        raise ExportError("--precision int8 needs --calibrate VIDEO, a typical video")
    opened = None
    if data is not None:
        opened = open_precision_data(DataSource(path=data, images=None, with_det=False), split, limit)
    frames = read_clips(calibrate) if calibrate else procedural_clips()
    return PrecisionPlan(precisions=precisions, frames=frames, data=opened)

"""The requested precisions of a bundle, checked before the long work starts."""

from dataclasses import dataclass, field
from typing import Final

from selsa_bundle.precision_report import Bounds
from selsa_bundle.runtimes.host import Host
from selsa_bundle.tolerance import Precision
from selsa_export.errors import ExportError
from selsa_export.precision.frames import PrecisionFrames
from selsa_export.precision.measure import PrecisionData

PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "bf16", "fp16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlan:
    """The requested precisions of a bundle.

    Attributes:
        precisions: some of `PRECISIONS`.
        frames: frames to calibrate int8 and to compare detections on.
        data: data set to measure AP50 on; None: AP50 is not measured.
        bounds: limits that a precision must keep to be chosen automatically.
        threads: of the engines; 0: the engines decide.
    """

    precisions: tuple[Precision, ...]
    frames: PrecisionFrames
    data: PrecisionData | None = None
    bounds: Bounds = field(default_factory=Bounds)
    threads: int = 0


def check_precisions(names: str) -> tuple[Precision, ...]:
    """`fp32,int8` as precisions.

    Raises:
        ExportError: one is unknown, or cannot be measured on this machine.
    """
    given = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in given if name not in PRECISIONS]:
        raise ExportError(f"--precision names {unknown[0]!r}; allowed are {', '.join(PRECISIONS)}")
    host = Host.here()
    reason = host.lacks("openvino") or host.cannot("openvino", "bf16")
    if "bf16" in given and reason is not None:
        raise ExportError(f"--precision bf16 cannot be measured here: {reason}")
    return tuple(precision for precision in PRECISIONS if precision in given)

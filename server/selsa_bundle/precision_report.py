"""`precisions.json`: measured speed and agreement of each provider and precision."""

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from selsa_bundle.errors import ManifestError
from selsa_bundle.providers import ProviderKind
from selsa_bundle.tolerance import Precision

PRECISIONS_NAME: Final = "precisions.json"
MAX_BYTES: Final = 1 << 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bounds(_Part):
    """Bounds that a precision must keep for `auto` to choose it."""

    matched: float = Field(default=0.97, ge=0, le=1, description="share of fp32 detections with a partner")
    score_p95: float = Field(default=0.1, ge=0, le=1, description="95 % of score differences lie below")
    ap50_lost: float = Field(default=0.5, ge=0, le=100, description="points, where a data set was named")


class DetectionAgreement(_Part):
    """Detections compared with those of ONNX Runtime in fp32 on the same frames."""

    frames: int
    threshold: float = Field(description="lowest score of an fp32 detection that counts")
    iou: float = Field(description="lowest IoU of partners, which have the same label")
    compared: int = Field(description="fp32 detections that count")
    matched: int = Field(description="those of them with a partner")
    extra: int = Field(description="detections at or above the threshold without a partner in fp32")
    score_quantiles: dict[str, float] = Field(description="of |difference| of partners' scores")

    @property
    def share(self) -> float:
        """Matched detections of those compared."""
        return self.matched / self.compared if self.compared else 0.0


class Accuracy(_Part):
    """AP50 in percent, sequence mode, as ImageNet VID defines it."""

    data: str
    split: str
    videos: int
    ap50: float
    ap50_fp32: float


class KeptLayers(_Part):
    """A group of layers, the effect of quantising it alone, and whether it stayed fp32."""

    group: str
    damage: float = Field(description="relative L2 of the frame engine's features, this group alone in int8")
    cost: float = Field(description="share of the frame engine's multiplications")
    kept_fp32: bool


class MeasuredPrecision(_Part):
    """One provider and precision. If a stand-in computed, there is no speed."""

    provider: ProviderKind
    precision: Precision
    stand_in: str | None = Field(
        default=None, max_length=200, description="what computed instead, where the provider could not"
    )
    frame_engine_bytes: int
    times_as_fast: float | None = Field(
        default=None,
        gt=0,
        description="frame engine: fp32 in ONNX Runtime / this, median of interleaved rounds",
    )
    seconds: float | None = Field(
        default=None, description="of the frame engine for one frame, on the machine of the report"
    )
    agreement: DetectionAgreement
    accuracy: Accuracy | None = None

    def failures(self, bounds: Bounds) -> list[str]:
        """Why `auto` may not choose it; empty if it may."""
        agreement = self.agreement
        p95 = agreement.score_quantiles.get("0.95", 1.0)
        lost = 0.0 if self.accuracy is None else self.accuracy.ap50_fp32 - self.accuracy.ap50
        checks = (
            (agreement.compared == 0, f"no fp32 detection scores {agreement.threshold:g} or more"),
            (
                agreement.share < bounds.matched,
                f"{agreement.share:.1%} of fp32 detections matched, {bounds.matched:.1%} wanted",
            ),
            (p95 > bounds.score_p95, f"scores differ by {p95:.3f} (95 %), {bounds.score_p95:g} allowed"),
            (lost > bounds.ap50_lost, f"{lost:.2f} AP50 lost, {bounds.ap50_lost:g} allowed"),
        )
        return [sentence for failed, sentence in checks if failed]


class PrecisionReport(_Part):
    """All ways that were measured, on one machine."""

    made_by: str = "selsa"
    created: str
    machine: str
    instructions: tuple[str, ...] = Field(
        default=(), description="instruction sets of that machine that a precision may need"
    )
    threads: int
    engine_input: tuple[int, int] = Field(description="width, height of the frames the engines were timed on")
    frames: str = Field(description="what detections were compared on")
    calibration: str | None = Field(default=None, description="what int8 was calibrated on")
    bounds: Bounds = Bounds()
    layers: tuple[KeptLayers, ...] = Field(default=(), description="of int8")
    measured: tuple[MeasuredPrecision, ...]
    left_out: dict[str, str] = Field(default_factory=dict, description="not measured, and why")

    def of(self, provider: ProviderKind, precision: Precision) -> MeasuredPrecision | None:
        """The measurement of one way."""
        return next(
            (each for each in self.measured if (each.provider, each.precision) == (provider, precision)), None
        )


def read_precisions(path: Path) -> PrecisionReport:
    """Read a report.

    Raises:
        ManifestError: it cannot be read, or a value is not allowed.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ManifestError(f"{path} is larger than {MAX_BYTES} bytes")
        return PrecisionReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ManifestError(f"{path}: {where}: {first['msg']}") from error

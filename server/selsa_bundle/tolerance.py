"""How far outputs may differ from the reference outputs, by precision."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

# Boxes, their decoding and suppression are fp32 in all precisions.
Precision = Literal["fp32", "bf16", "fp16", "int8"]


class GateTolerance(BaseModel):
    """Bounds on the differences of the outputs of a few frames; see `gate.check.compare_outputs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partner_iou: float = Field(ge=0, le=1, description="lowest IoU at which two boxes are the same one")
    unmatched: float = Field(ge=0, le=1, description="share of boxes that may have no partner")
    corner: float = Field(ge=0, description="pixels between corners of partners")
    feature: float = Field(ge=0, description="relative L2 of queries and of memory of partners")
    score: float = Field(ge=0, le=1, description="between scores of partners")


# For fp32 what rounding explains on any processor (see `selsa_export.parity`). For the others the bounds of a
# bundle whose manifest states none: wide enough for any useful model in that precision, far too narrow for a
# wrong computation.
USUAL_TOLERANCES: Final[dict[Precision, GateTolerance]] = {
    "fp32": GateTolerance(partner_iou=0.99, unmatched=0.01, corner=0.1, feature=1e-3, score=1e-3),
    "fp16": GateTolerance(partner_iou=0.9, unmatched=0.05, corner=2, feature=0.02, score=0.05),
    "bf16": GateTolerance(partner_iou=0.7, unmatched=0.15, corner=10, feature=0.1, score=0.15),
    "int8": GateTolerance(partner_iou=0.5, unmatched=0.25, corner=20, feature=0.3, score=0.3),
}

"""Configuration of the everyday model: frozen, validated once."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from selsa_bundle.classes import COCO
from selsa_bundle.preprocess import Preprocess
from selsa_training.config import DetectionConfig, ProposalConfig

PositiveInt = Annotated[int, Field(gt=0, le=4096)]


class GateConfig(BaseModel):
    """The SELSA stage: attention over logits, and the gate that mixes the result into them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: PositiveInt = 4
    head_width: PositiveInt = 32
    reference_proposals: PositiveInt = 32
    best: PositiveInt = 8
    hidden: PositiveInt = 32
    summary: PositiveInt = 8


class EverydayConfig(BaseModel):
    """SELSA over NanoDet-g's proposals. Long side 416, aspect ratio kept, padded to a multiple of 32."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["one-stage"] = "one-stage"
    name: str = "everyday"
    classes: tuple[str, ...] = COCO
    reference_frames: Annotated[int, Field(ge=0, le=64)] = 14
    preprocess: Preprocess = Preprocess(
        long_side=416, short_side=416, size_multiple=32, area_above=1.5, area_by="ffmpeg"
    )
    proposals: ProposalConfig = ProposalConfig(candidates=400, nms_iou=0.6, proposals=64)
    stage: GateConfig = GateConfig()
    # 0.6 is NanoDet's own overlap: 0.5 loses 2.3 person AP50 of the frozen detector where people overlap.
    detections: DetectionConfig = DetectionConfig(score_threshold=0.01, nms_iou=0.6)


EVERYDAY: Final = EverydayConfig()

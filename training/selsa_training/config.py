"""Configuration of the model: frozen, validated once, handed on in narrow pieces."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from selsa_bundle.classes import IMAGENET_VID
from selsa_bundle.preprocess import Preprocess

BackboneName = Literal["resnet18", "resnet50", "resnet101", "resnext101_64x4d", "resnet_slim"]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, le=1e4)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AnchorConfig(_Config):
    """Anchors at stride 16: every ratio (height / width) with every scale, in units of the base size."""

    base_size: PositiveInt = 16
    ratios: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0)
    scales: tuple[PositiveFloat, ...] = (4.0, 8.0, 16.0, 32.0)

    @property
    def count(self) -> int:
        """Anchors per position."""
        return len(self.ratios) * len(self.scales)


class ProposalConfig(_Config):
    """From RPN outputs to proposals, at test time."""

    candidates: PositiveInt = 6000
    nms_iou: Fraction = 0.7
    proposals: PositiveInt = 300
    # Of a reference frame, the best by objectness; None, as published: all of them. RDN and MEGA keep 75 of
    # 300. Not written where it is None, so that the files of older checkpoints stay as they are.
    reference_proposals: PositiveInt | None = Field(default=None, exclude_if=lambda count: count is None)

    @model_validator(mode="after")
    def _references_offer_no_more_than_there_are(self) -> "ProposalConfig":
        if self.reference_proposals is not None and self.reference_proposals > self.proposals:
            raise ValueError(f"reference_proposals is {self.reference_proposals}; at most {self.proposals}")
        return self


class HeadConfig(_Config):
    """The box head: RoI features, shared layers and the aggregation between them."""

    roi_size: PositiveInt = 7
    sampling_ratio: PositiveInt = 2
    width: PositiveInt = 1024
    heads: PositiveInt = 16
    stages: PositiveInt = 2
    box_std: tuple[float, float, float, float] = (0.2, 0.2, 0.2, 0.2)
    # Without it the model is a single-frame Faster R-CNN: what SELSA is compared with.
    aggregation: bool = True

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "HeadConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class DetectionConfig(_Config):
    """From class scores and boxes to detections."""

    score_threshold: Fraction = 0.0001
    nms_iou: Fraction = 0.5
    detections: PositiveInt = 100


class ModelConfig(_Config):
    """A SELSA Faster R-CNN with a dilated stage 5 (DC5). Defaults are the published R-50 configuration."""

    family: Literal["faster-rcnn"] = "faster-rcnn"
    name: str
    backbone: BackboneName = "resnet50"
    neck_channels: PositiveInt = 512
    rpn_channels: PositiveInt = 512
    classes: tuple[str, ...] = IMAGENET_VID
    reference_frames: Annotated[int, Field(ge=0, le=64)] = 14
    preprocess: Preprocess = Preprocess()
    anchors: AnchorConfig = AnchorConfig()
    proposals: ProposalConfig = ProposalConfig()
    head: HeadConfig = HeadConfig()
    detections: DetectionConfig = DetectionConfig()


CONFIGS: Final[dict[str, ModelConfig]] = {
    config.name: config
    for config in (
        ModelConfig(name="r50-dc5"),
        ModelConfig(name="r101-dc5", backbone="resnet101"),
        ModelConfig(name="x101-dc5", backbone="resnext101_64x4d"),
        # Not published: small enough that a test suite can rebuild its weights and run it in seconds.
        ModelConfig(
            name="r18-dc5",
            backbone="resnet18",
            neck_channels=128,
            rpn_channels=128,
            head=HeadConfig(width=256, heads=4),
        ),
        # The packaged default: faster than video on two CPU cores.
        ModelConfig(
            name="tiny",
            backbone="resnet_slim",
            neck_channels=128,
            rpn_channels=128,
            preprocess=Preprocess(long_side=320, short_side=192),
            anchors=AnchorConfig(scales=(2.0, 3.0, 4.5, 7.0)),
            proposals=ProposalConfig(candidates=600, proposals=64),
            head=HeadConfig(width=256, heads=4),
        ),
    )
}

"""Names and shapes of all tensors of a model, computed from its configuration.

With them a checkpoint can be checked, recognised or created without building the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from selsa_training.config import BackboneName, ModelConfig

Shape = tuple[int, ...]
Entry = tuple[str, Shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetPlan:
    """The structure of a residual network.

    Attributes:
        blocks: residual blocks per stage.
        bottleneck: three convolutions per block (1x1, 3x3, 1x1, four times the planes) instead of two (3x3).
        groups: groups of the 3x3 convolution.
        base_width: channels per group at 64 planes.
        planes: of each stage.
        deep_stem: three 3x3 convolutions with this many channels (twice as many after the last) instead of
            one 7x7 with 64; 0: one 7x7.
        timm_name: the network of timm that this is a variant of.
    """

    timm_name: str
    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    base_width: int = 64
    planes: tuple[int, int, int, int] = (64, 128, 256, 512)
    deep_stem: int = 0

    @property
    def out_channels(self) -> int:
        """Channels of the last stage."""
        return self.planes[-1] * (4 if self.bottleneck else 1)

    @property
    def stem_channels(self) -> int:
        """Channels that enter the first stage."""
        return 2 * self.deep_stem or 64


RESNETS: Final[dict[BackboneName, ResNetPlan]] = {
    "resnet18": ResNetPlan(timm_name="resnet18", blocks=(2, 2, 2, 2), bottleneck=False),
    "resnet50": ResNetPlan(timm_name="resnet50", blocks=(3, 4, 6, 3)),
    "resnet101": ResNetPlan(timm_name="resnet101", blocks=(3, 4, 23, 3)),
    "resnext101_64x4d": ResNetPlan(
        timm_name="resnext101_64x4d", blocks=(3, 4, 23, 3), groups=64, base_width=4
    ),
    "resnet_slim": ResNetPlan(
        timm_name="resnet18", blocks=(1, 2, 2, 2), bottleneck=False, planes=(24, 48, 96, 192), deep_stem=12
    ),
}


def is_counter(name: str) -> bool:
    """Whether a tensor is a batch norm's int64 step counter; every other tensor is float32."""
    return name.endswith(".num_batches_tracked")


def expected_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Name -> shape of every tensor of the model of this configuration, buffers included.

    All are float32 except the 0-dimensional int64 `num_batches_tracked`.
    """
    return dict([*_backbone(config), *_neck_and_rpn(config), *_head(config)])


def _backbone(config: ModelConfig) -> Iterator[Entry]:
    plan = RESNETS[config.backbone]
    yield from _stem(plan)
    channels = plan.stem_channels
    for stage, (count, planes) in enumerate(zip(plan.blocks, plan.planes, strict=True)):
        for block in range(count):
            prefix = f"backbone.layer{stage + 1}.{block}"
            yield from _block(prefix, plan, channels, planes)
            channels = planes * (4 if plan.bottleneck else 1)


def _stem(plan: ResNetPlan) -> Iterator[Entry]:
    if width := plan.deep_stem:
        yield "backbone.conv1.0.weight", (width, 3, 3, 3)
        yield from _norm("backbone.conv1.1", width)
        yield "backbone.conv1.3.weight", (width, width, 3, 3)
        yield from _norm("backbone.conv1.4", width)
        yield "backbone.conv1.6.weight", (2 * width, width, 3, 3)
    else:
        yield "backbone.conv1.weight", (64, 3, 7, 7)
    yield from _norm("backbone.bn1", plan.stem_channels)


def _block(prefix: str, plan: ResNetPlan, channels: int, planes: int) -> Iterator[Entry]:
    if plan.bottleneck:
        width = planes * plan.base_width // 64 * plan.groups
        out = planes * 4
        convolutions = [
            (width, channels, 1, 1),
            (width, width // plan.groups, 3, 3),
            (out, width, 1, 1),
        ]
    else:
        out = planes
        convolutions = [(planes, channels, 3, 3), (planes, planes, 3, 3)]
    for index, shape in enumerate(convolutions, start=1):
        yield f"{prefix}.conv{index}.weight", shape
        yield from _norm(f"{prefix}.bn{index}", shape[0])
    # Only a stage's first block changes the channels, and only it projects its identity path.
    if channels != out:
        yield f"{prefix}.downsample.0.weight", (out, channels, 1, 1)
        yield from _norm(f"{prefix}.downsample.1", out)


def _norm(prefix: str, channels: int) -> Iterator[Entry]:
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{prefix}.{leaf}", (channels,)
    yield f"{prefix}.num_batches_tracked", ()


def _neck_and_rpn(config: ModelConfig) -> Iterator[Entry]:
    neck, rpn, anchors = config.neck_channels, config.rpn_channels, config.anchors.count
    yield from _layer("neck.conv", neck, RESNETS[config.backbone].out_channels, 3, 3)
    yield from _layer("rpn.conv", rpn, neck, 3, 3)
    yield from _layer("rpn.objectness", anchors, rpn, 1, 1)
    yield from _layer("rpn.deltas", 4 * anchors, rpn, 1, 1)


def _head(config: ModelConfig) -> Iterator[Entry]:
    width, classes = config.head.width, len(config.classes)
    inputs = config.neck_channels * config.head.roi_size**2
    for stage in range(config.head.stages):
        yield from _layer(f"head.stages.{stage}.fc", width, inputs if stage == 0 else width)
        for projection in ("query", "key", "value", "out") if config.head.aggregation else ():
            yield from _layer(f"head.stages.{stage}.attention.{projection}", width, width)
    yield from _layer("predictor.classes", classes + 1, width)
    yield from _layer("predictor.deltas", 4 * classes, width)


def _layer(prefix: str, out: int, *inputs: int) -> Iterator[Entry]:
    yield f"{prefix}.weight", (out, *inputs)
    yield f"{prefix}.bias", (out,)

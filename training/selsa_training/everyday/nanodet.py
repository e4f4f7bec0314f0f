"""NanoDet-g: the frozen one-stage detector by RangiLyu (Apache-2.0), written from its published graph.

A CSP backbone, a path-aggregation neck of three levels (strides 8, 16, 32) and a head of one 3 x 3 and one
1 x 1 convolution per level. Shape legend: B frames, H and W multiples of 32.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES: Final = 80
# Each side of a box is a distribution over 0, 1, ..., BINS - 1, in strides.
BINS: Final = 11
SIDES: Final = 4
STRIDES: Final = (8, 16, 32)
FEATURES: Final = 128
SLOPE: Final = 0.1


class LevelOutput(NamedTuple):
    """The head's output at one stride.

    Attributes:
        logits: float32 [B, 80, h, w].
        sides: float32 [B, 44, h, w], logits of the distances to left, top, right and bottom.
        features: float32 [B, 128, h, w], input of the convolution that gives both.
    """

    logits: Tensor
    sides: Tensor
    features: Tensor


class NanoDet(nn.Module):
    """The whole network, from normalised images to the head's outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, 32, stride=2)
        self.stages = nn.ModuleList(
            [
                _CspStage(32, 32, 16, stride=1, blocks=1),
                _CspStage(64, 64, 32, stride=2, blocks=2),
                _CspStage(128, 128, 64, stride=2, blocks=2),
                _CspStage(256, 256, 128, stride=2, blocks=3),
            ]
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, FEATURES, 1) for width in (128, 256, 512))
        self.heads = nn.ModuleList(_Head() for _ in STRIDES)

    def forward(self, images: Tensor) -> list[LevelOutput]:
        """The head's outputs for strides 8, 16 and 32.

        Args:
            images: float32 [B, 3, H, W], BGR, normalised, 0 in the padding.
        """
        x = functional.max_pool2d(self.stem(images), 3, stride=2, padding=1)
        x = self.stages[0](x)
        levels = []
        for stage, lateral in zip(list(self.stages)[1:], self.lateral, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        return [head(level) for head, level in zip(self.heads, _aggregate_paths(levels), strict=True)]

    def convolutions(self) -> Iterator[nn.Conv2d]:
        """Every convolution, in the order of the original graph."""
        return (module for module in self.modules() if isinstance(module, nn.Conv2d))


class _Convolution(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.conv(x), SLOPE)


class _CspStage(nn.Module):
    """[B, inputs, h, w] -> [B, 2 * outputs, h / stride, w / stride]; the second half is `first`'s output."""

    def __init__(self, inputs: int, outputs: int, width: int, *, stride: int, blocks: int) -> None:
        super().__init__()
        self.first = _Convolution(inputs, outputs, stride)
        self.blocks = nn.ModuleList(
            nn.ModuleList([_Convolution(2 * width if i else outputs, width), _Convolution(width, width)])
            for i in range(blocks)
        )
        self.last = _Convolution(2 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.first(x)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            half = block[0](x)
            x = torch.cat([block[1](half), half], 1)
        return torch.cat([self.last(x), first], 1)


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = _Convolution(FEATURES, FEATURES)
        self.out = nn.Conv2d(FEATURES, CLASSES + SIDES * BINS, 1)

    def forward(self, x: Tensor) -> LevelOutput:
        features = self.features(x)
        logits, sides = self.out(features).split([CLASSES, SIDES * BINS], dim=1)
        return LevelOutput(logits, sides, features)


def _aggregate_paths(levels: list[Tensor]) -> list[Tensor]:
    """Top-down, then bottom-up; three maps [B, 128, h, w], finest first, in and out.

    Bilinear halving without antialiasing equals the mean of 2 x 2 cells.
    """
    fine, middle, coarse = levels
    middle = middle + _doubled(coarse)
    fine = fine + _doubled(middle)
    middle = middle + functional.avg_pool2d(fine, 2)
    return [fine, middle, coarse + functional.avg_pool2d(middle, 2)]


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

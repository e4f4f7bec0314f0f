"""The backbone: a timm ResNet whose last stage is dilated instead of strided (DC5)."""

from typing import Final

import timm
from torch import Tensor, nn

from selsa_training.config import BackboneName
from selsa_training.model.tensor_shapes import RESNETS

# Frame pixels per feature map cell, along each axis.
STRIDE: Final = 16


class Backbone(nn.Module):
    """ResNet v1 ("pytorch" style: the 3x3 convolution carries the stride) up to stage 5, at stride 16."""

    def __init__(self, name: BackboneName) -> None:
        super().__init__()
        plan = RESNETS[name]
        slim = {"layers": plan.blocks, "channels": plan.planes, "stem_type": "deep"} if plan.deep_stem else {}
        net = timm.create_model(
            plan.timm_name,
            pretrained=False,
            features_only=True,
            out_indices=(4,),
            output_stride=STRIDE,
            stem_width=plan.deep_stem or 64,
            **slim,
        )
        _dilate_as_published(net["layer4"])
        self.channels: int = net.feature_info.channels()[-1]
        # Children by their published names (conv1, bn1, layer1 ...), so that weights need no map.
        for child_name, child in net.named_children():
            self.add_module(child_name, child)

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, channels, H/16, W/16] of normalised images [B, 3, H, W]; H, W multiples of 16."""
        x = images
        for child in self.children():
            x = child(x)
        return x


def _dilate_as_published(stage: nn.Module) -> None:
    """Set the dilation of the last stage to the published model's.

    timm (like torchvision) gives the stage's first block dilation 1. The published model dilates this block
    too; without it a third of the boxes differ. A bottleneck has one 3x3 convolution. A basic block has two,
    and only the first is dilated (mmdet's `BasicBlock`), while timm dilates both.
    """
    for block in stage.children():
        convs = [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        for position, conv in enumerate(convs):
            dilation = 2 if position == 0 else 1
            conv.dilation = (dilation, dilation)
            conv.padding = (dilation, dilation)

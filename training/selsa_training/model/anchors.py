"""Anchors of the region proposal network."""

import torch
from torch import Tensor, nn

from selsa_training.config import AnchorConfig


class AnchorGrid(nn.Module):
    """Anchors at every position of a feature map.

    Centres lie on (x * stride, y * stride) of the padded frame, without a half-cell offset and without
    rounding; anchors may leave the frame. Source: mmdet 2.28 `AnchorGenerator`, `center_offset=0`.
    """

    base: Tensor

    def __init__(self, config: AnchorConfig, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.register_buffer("base", _base_anchors(config), persistent=False)

    def forward(self, feature_h: int, feature_w: int) -> Tensor:
        """Anchors as float32 [feature_h * feature_w * A, 4], xyxy, in the order (y, x, anchor)."""
        device = self.base.device
        x = torch.arange(feature_w, device=device, dtype=torch.float32) * self.stride
        y = torch.arange(feature_h, device=device, dtype=torch.float32) * self.stride
        zero_x, zero_y = torch.zeros_like(x)[None, :], torch.zeros_like(y)[:, None]
        grid_x, grid_y = x[None, :] + zero_y, y[:, None] + zero_x
        centres = torch.stack([grid_x, grid_y, grid_x, grid_y], dim=-1)
        return (centres[:, :, None, :] + self.base).reshape(-1, 4)


def _base_anchors(config: AnchorConfig) -> Tensor:
    """[A, 4] around the origin; ratio is the outer loop, scale the inner one."""
    ratios = torch.tensor(config.ratios)
    scales = torch.tensor(config.scales)
    ratio_h = ratios.sqrt()
    widths = (config.base_size * (1 / ratio_h)[:, None] * scales).reshape(-1)
    heights = (config.base_size * ratio_h[:, None] * scales).reshape(-1)
    return torch.stack([-widths / 2, -heights / 2, widths / 2, heights / 2], dim=-1)

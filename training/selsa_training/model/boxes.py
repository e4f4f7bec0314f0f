"""Box arithmetic. Boxes are xyxy in pixels, width = x2 - x1 (no "+ 1")."""

import math
from typing import Final

import torch
from torch import Tensor

__all__ = ["MAX_LOG_RATIO", "clip_boxes", "decode_boxes"]

# mmdet's DeltaXYWHBBoxCoder, wh_ratio_clip = 16 / 1000: a side grows or shrinks by at most this factor.
MAX_LOG_RATIO: Final = abs(math.log(16 / 1000))


def decode_boxes(anchors: Tensor, deltas: Tensor, std: tuple[float, float, float, float]) -> Tensor:
    """Apply regression deltas to anchors or proposals.

    Args:
        anchors: [..., 4] xyxy; broadcast against `deltas`.
        deltas: [..., 4] (dx, dy, dw, dh) in units of `std`.
        std: the deltas' standard deviations (their means are 0).

    Returns:
        [..., 4] xyxy, not clipped. Centres are not clamped, log sizes are, to `MAX_LOG_RATIO`. Source: mmdet
        2.28 `delta2bbox`, Faster R-CNN's parametrisation (Ren et al. 2015, eq. 2).
    """
    scaled = deltas * deltas.new_tensor(std) if std != (1.0, 1.0, 1.0, 1.0) else deltas
    centre = (anchors[..., :2] + anchors[..., 2:]) * 0.5
    size = anchors[..., 2:] - anchors[..., :2]
    new_centre = centre + size * scaled[..., :2]
    new_size = size * scaled[..., 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    return torch.cat([new_centre - new_size * 0.5, new_centre + new_size * 0.5], dim=-1)


def clip_boxes(boxes: Tensor, image_size: Tensor) -> Tensor:
    """Clip x to [0, width] and y to [0, height] (not width - 1).

    Args:
        boxes: [B, N, 4] xyxy.
        image_size: int64 [B, 2], (height, width) of each frame without padding.
    """
    width_height = image_size.flip(1).to(boxes.dtype)
    limit = torch.cat([width_height, width_height], dim=1)[:, None, :]
    return torch.minimum(boxes.clamp(min=0), limit)

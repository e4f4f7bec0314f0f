"""Box arithmetic. Boxes are xyxy in pixels, width = x2 - x1 (no "+ 1")."""

import math
from typing import Final

import torch
from torch import Tensor

# mmdet's DeltaXYWHBBoxCoder, wh_ratio_clip = 16 / 1000: a side grows or shrinks by at most this factor.
MAX_LOG_RATIO: Final = abs(math.log(16 / 1000))


def decode_boxes(anchors: Tensor, deltas: Tensor, std: tuple[float, float, float, float]) -> Tensor:
    """Apply regression deltas to anchors or proposals.

    Args:
        anchors: [..., 4] xyxy; broadcast against `deltas`.
        deltas: [..., 4] (dx, dy, dw, dh) in units of `std`.
        std: the deltas' standard deviations (their means are 0).

    Returns:
        [..., 4] xyxy, not clipped. Log sizes are clamped to `MAX_LOG_RATIO`; centres are not clamped. Source:
        mmdet 2.28 `delta2bbox`, Faster R-CNN's parametrisation (Ren et al. 2015, eq. 2).
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


def encode_boxes(anchors: Tensor, boxes: Tensor, std: tuple[float, float, float, float]) -> Tensor:
    """The deltas that `decode_boxes` turns back into `boxes`.

    Args:
        anchors: [..., 4] xyxy, of positive area.
        boxes: [..., 4] xyxy, of positive area.
        std: the deltas' standard deviations.

    Returns:
        [..., 4] (dx, dy, dw, dh) in units of `std`. Source: mmdet 2.28 `bbox2delta`.
    """
    size, new_size = anchors[..., 2:] - anchors[..., :2], boxes[..., 2:] - boxes[..., :2]
    shift = (boxes[..., :2] + boxes[..., 2:] - anchors[..., :2] - anchors[..., 2:]) * 0.5
    return torch.cat([shift / size, (new_size / size).log()], dim=-1) / anchors.new_tensor(std)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU [B, N, M] of boxes [B, N, 4] and [B, M, 4], xyxy; 0 where either has no area."""
    low = torch.maximum(a[:, :, None, :2], b[:, None, :, :2])
    high = torch.minimum(a[:, :, None, 2:], b[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area_a, area_b = ((x[..., 2:] - x[..., :2]).clamp(min=0).prod(-1) for x in (a, b))
    union = area_a[:, :, None] + area_b[:, None, :] - shared
    return shared / union.clamp(min=1e-6)

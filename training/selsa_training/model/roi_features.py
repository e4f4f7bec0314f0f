"""Features of proposals, pooled from a frame's feature map."""

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

__all__ = ["RoiFeatures"]


class RoiFeatures(nn.Module):
    """RoIAlign with half-pixel alignment. Source: mmcv 1.7 `RoIAlign(aligned=True, sampling_ratio=2)`."""

    def __init__(self, size: int, sampling_ratio: int, stride: int) -> None:
        super().__init__()
        self.size = size
        self.sampling_ratio = sampling_ratio
        self.scale = 1.0 / stride

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Pool every box from its own frame's features.

        Args:
            features: [B, channels, h, w].
            boxes: [B, P, 4] xyxy in pixels of the resized frame.

        Returns:
            [B, P, channels * size * size], channel-major.
        """
        batch, count = boxes.shape[:2]
        frame = torch.arange(batch, device=boxes.device, dtype=boxes.dtype)
        frame = frame[:, None, None].expand(batch, count, 1)
        rois = torch.cat([frame, boxes], dim=2).reshape(-1, 5)
        pooled = roi_align(
            features, rois, (self.size, self.size), self.scale, self.sampling_ratio, aligned=True
        )
        features_BPF: Tensor = pooled.reshape(batch, count, -1)
        return features_BPF

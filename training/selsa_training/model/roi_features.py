"""Features of proposals, pooled from a frame's feature map."""

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from selsa_training.model.roi_align_matrices import MAX_CELLS, roi_align_matrices


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

    def learn(self, features: Tensor, boxes: Tensor) -> Tensor:
        """The same in the order that training wants, cell by cell: [B, P, size * size, channels]."""
        if features.device.type == "cpu" and features.shape[2:].numel() <= MAX_CELLS:
            return roi_align_matrices(
                features, boxes, size=self.size, sampling_ratio=self.sampling_ratio, scale=self.scale
            )
        pooled: Tensor = self(features, boxes)
        return pooled.reshape(*boxes.shape[:2], features.shape[1], -1).transpose(2, 3)

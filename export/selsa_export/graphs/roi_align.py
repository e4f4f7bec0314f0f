"""RoIAlign as two matrix products, in the form that graphs are written from.

Bilinear interpolation and the average over samples are separable, so one matrix along x and one along y pool
a box. There are two differences to `selsa_training.model.roi_align_matrices`. Boxes are proposals, clipped to
their frame, so no sample is outside the feature map. And no values are repeated per cell.

Shape legend: B frames, P boxes, K cells of the output along each axis.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiProducts:
    """Pools features of boxes; the attributes are the settings.

    Attributes:
        size: K.
        sampling_ratio: samples per cell along each axis.
        scale: cells of the feature map per pixel.
    """

    size: int
    sampling_ratio: int
    scale: float

    def __call__(self, features: Tensor, boxes: Tensor) -> Tensor:
        """RoI features [B * P, K * K * channels], in the order (column, row, channel).

        The product along the longer side comes first, which keeps the intermediate result (B * P * K * h *
        channels values) small. Frames are usually wider than high.

        Args:
            features: [B, channels, h, w], any float type.
            boxes: float32 [B, P, 4], xyxy in pixels, inside the frame.
        """
        batch, _, height, width = features.shape
        count = boxes.shape[1]
        scaled = boxes * self.scale - 0.5
        across = self._weights(scaled[..., 0], scaled[..., 2], width).to(features.dtype)
        down = self._weights(scaled[..., 1], scaled[..., 3], height).to(features.dtype)
        cells = features.permute(0, 3, 2, 1).reshape(batch, width, -1)
        columns = torch.bmm(across.reshape(batch, count * self.size, width), cells)
        columns = columns.reshape(batch * count, self.size, height, -1)
        pooled = torch.matmul(down.reshape(batch * count, 1, self.size, height), columns)
        return pooled.reshape(batch * count, -1)

    def _weights(self, low: Tensor, high: Tensor, cells: int) -> Tensor:
        """[B, P, K * cells]: weight of each input cell in each output cell, along one axis."""
        batch, count = low.shape
        step = (high - low) / (self.size * self.sampling_ratio)
        # First samples of all cells, then second samples: the average then runs over long rows, which is
        # faster.
        place = torch.arange(self.size * self.sampling_ratio, dtype=low.dtype) + 0.5
        place = place.reshape(self.size, self.sampling_ratio).transpose(0, 1).reshape(-1)
        at = (low[..., None] + step[..., None] * place).clamp(0, cells - 1)
        near = torch.arange(cells, dtype=low.dtype)
        weights = (1 - (at[..., None] - near).abs()).relu()
        return weights.reshape(batch, count, self.sampling_ratio, self.size * cells).mean(2)

    def reordered(self, layer: nn.Linear) -> nn.Linear:
        """The layer with weights reordered from (channel, row, column) to (column, row, channel)."""
        weight = layer.weight.reshape(layer.out_features, -1, self.size, self.size).permute(0, 3, 2, 1)
        turned = nn.Linear(layer.in_features, layer.out_features)
        turned.weight = nn.Parameter(weight.flatten(1).contiguous(), requires_grad=False)
        turned.bias = layer.bias
        return turned

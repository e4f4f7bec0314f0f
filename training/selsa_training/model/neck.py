"""The neck: from the backbone's channels to the heads'."""

from torch import Tensor, nn


class Neck(nn.Module):
    """One 3x3 convolution with bias, then ReLU; no norm. Source: mmdet `ChannelMapper`, `kernel_size=3`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """[B, in, h, w] -> [B, out, h, w]."""
        x: Tensor = self.relu(self.conv(features))
        return x

"""The region proposal network and the choice of proposals from its outputs."""

import torch
from torch import Tensor, nn

from selsa_training.config import AnchorConfig, ProposalConfig
from selsa_training.model.boxes import clip_boxes, decode_boxes
from selsa_training.model.nms import greedy_nms


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


UNIT_STD = (1.0, 1.0, 1.0, 1.0)
# Sigmoid scores are never negative, so -1 marks boxes that are no candidates.
NO_CANDIDATE = -1.0


class RegionProposalNetwork(nn.Module):
    """3x3 convolution and two 1x1 convolutions: objectness and box deltas of every anchor."""

    def __init__(self, in_channels: int, channels: int, anchors_per_cell: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1)
        self.relu = nn.ReLU()
        self.objectness = nn.Conv2d(channels, anchors_per_cell, kernel_size=1)
        self.deltas = nn.Conv2d(channels, anchors_per_cell * 4, kernel_size=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Objectness logits [B, A, h, w] and deltas [B, A*4, h, w] of features [B, in, h, w]."""
        x = self.relu(self.conv(features))
        return self.objectness(x), self.deltas(x)


class ProposalSelection(nn.Module):
    """Select a frame's proposals: take the best candidates, decode, clip, suppress, take the best boxes.

    Source: mmdet 2.28 `RPNHead._get_bboxes_single`, `nms_pre=6000, iou_threshold=0.7, max_per_img=300,
    min_bbox_size=0`.
    """

    def __init__(self, anchors: AnchorConfig, config: ProposalConfig, stride: int) -> None:
        super().__init__()
        self.grid = AnchorGrid(anchors, stride)
        self.config = config

    def forward(self, objectness: Tensor, deltas: Tensor, image_size: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals of each frame, by descending objectness.

        Args:
            objectness: [B, A, h, w] logits.
            deltas: [B, A*4, h, w].
            image_size: int64 [B, 2], (height, width) without padding.

        Returns:
            boxes: [B, P, 4] xyxy in pixels of the resized frame; zeros where there are fewer than P.
            valid: bool [B, P].
        """
        batch, _, feature_h, feature_w = objectness.shape
        anchors = self.grid(feature_h, feature_w)
        scores = objectness.permute(0, 2, 3, 1).reshape(batch, -1).sigmoid()
        deltas = deltas.permute(0, 2, 3, 1).reshape(batch, -1, 4)
        scores, order = self._top_candidates(scores)
        chosen = torch.gather(deltas, 1, order[..., None].expand(-1, -1, 4))
        boxes = clip_boxes(decode_boxes(anchors[order], chosen, UNIT_STD), image_size)
        has_area = (boxes[..., 2:] > boxes[..., :2]).all(-1)
        scores = torch.where(has_area, scores, scores.new_tensor(NO_CANDIDATE))
        keep, valid = greedy_nms(boxes, scores, self.config.nms_iou, NO_CANDIDATE / 2, self.config.proposals)
        boxes = torch.gather(boxes, 1, keep[..., None].expand(-1, -1, 4))
        return boxes * valid[..., None], valid

    def _top_candidates(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and anchor indices [B, candidates], descending; small frames are filled up.

        The fill keeps K constant whatever the frame's size, so that the exported graph needs no branch.
        """
        batch, anchor_count = scores.shape
        k = self.config.candidates
        fill = torch.full((batch, k), NO_CANDIDATE, dtype=scores.dtype, device=scores.device)
        top, order = torch.topk(torch.cat([scores, fill], dim=1), k, dim=1)
        return top, order.clamp(max=anchor_count - 1)

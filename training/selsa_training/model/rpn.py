"""The region proposal network and the choice of proposals from its outputs."""

import torch
from torch import Tensor, nn

from selsa_training.config import AnchorConfig, ProposalConfig
from selsa_training.model.anchors import AnchorGrid
from selsa_training.model.boxes import clip_boxes, decode_boxes
from selsa_training.model.nms import greedy_nms

UNIT_STD = (1.0, 1.0, 1.0, 1.0)
# Sigmoid scores are never negative, so -1 marks what is no candidate.
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
    """The best boxes of a frame: top candidates by score, decoded, clipped, NMS, top proposals.

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

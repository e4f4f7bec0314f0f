"""From the head's maps to proposals: the best anchors, decoded, with suppression across classes."""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from selsa_training.config import ProposalConfig
from selsa_training.everyday.nanodet import BINS, SIDES, STRIDES, LevelOutput
from selsa_training.model.boxes import clip_boxes
from selsa_training.model.nms import greedy_nms

# Logits of padded rows: a score of 0.0003.
PADDED_LOGIT: Final = -8.0
_NO_CANDIDATE: Final = -1.0


class Proposals(NamedTuple):
    """The best boxes of B frames, by descending best score.

    Attributes:
        boxes: float32 [B, P, 4], xyxy in pixels of the resized frame; zeros where there are fewer than P.
        valid: bool [B, P].
        logits: float32 [B, P, 80]; `PADDED_LOGIT` where there is no proposal.
        features: float32 [B, P, 128], the head's features at the proposal's anchor.
        anchors: int64 [B, P], index into the anchors of all levels, finest first, row by row.
    """

    boxes: Tensor
    valid: Tensor
    logits: Tensor
    features: Tensor
    anchors: Tensor


class BestAnchors(nn.Module):
    """The best anchors by their best class, then suppression across classes, then the first P."""

    bins: Tensor

    def __init__(self, config: ProposalConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("bins", torch.arange(BINS, dtype=torch.float32), persistent=False)

    def forward(self, levels: list[LevelOutput], image_size: Tensor) -> Proposals:
        """Proposals of each frame.

        Args:
            levels: the head's outputs.
            image_size: int64 [B, 2], (height, width) without padding.
        """
        logits = torch.cat([_rows(level.logits) for level in levels], 1)
        sides = torch.cat([_rows(level.sides) for level in levels], 1)
        features = torch.cat([_rows(level.features) for level in levels], 1)
        centres = torch.cat(
            [_centres(level.logits, stride) for level, stride in zip(levels, STRIDES, strict=True)]
        )
        scores, order = self._top(logits.amax(-1).sigmoid())
        boxes = clip_boxes(self._decode(_at(sides, order), centres[order]), image_size)
        has_area = (boxes[..., 2:] > boxes[..., :2]).all(-1)
        scores = torch.where(has_area, scores, scores.new_tensor(_NO_CANDIDATE))
        keep, valid = greedy_nms(boxes, scores, self.config.nms_iou, _NO_CANDIDATE / 2, self.config.proposals)
        anchors = torch.gather(order, 1, keep)
        here = valid[..., None]
        chosen = _at(logits, anchors)
        return Proposals(
            _at(boxes, keep) * here,
            valid,
            torch.where(here, chosen, chosen.new_tensor(PADDED_LOGIT)),
            _at(features, anchors),
            anchors,
        )

    def _top(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and anchor indices [B, candidates], descending.

        Small frames are padded, so that the exported graph needs no branch.
        """
        batch, count = scores.shape
        k = self.config.candidates
        fill = torch.full((batch, k), _NO_CANDIDATE, dtype=scores.dtype, device=scores.device)
        top, order = torch.topk(torch.cat([scores, fill], 1), k, dim=1)
        return top, order.clamp(max=count - 1)

    def _decode(self, sides: Tensor, centres: Tensor) -> Tensor:
        """Boxes [B, N, 4] of side distributions [B, N, 44] around centres [B, N, 3] (x, y, stride)."""
        batch, count, _ = sides.shape
        distances = (sides.reshape(batch, count, SIDES, BINS).softmax(-1) * self.bins).sum(-1)
        distances = distances * centres[..., 2:]
        middle = centres[..., :2]
        return torch.cat([middle - distances[..., :2], middle + distances[..., 2:]], -1)


def _rows(x: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, h * w, C]."""
    return x.flatten(2).transpose(1, 2)


def _centres(x: Tensor, stride: int) -> Tensor:
    """(x, y, stride) of every cell, float32 [h * w, 3]."""
    height, width = x.shape[-2:]
    ys = (torch.arange(height, device=x.device, dtype=torch.float32) + 0.5) * stride
    xs = (torch.arange(width, device=x.device, dtype=torch.float32) + 0.5) * stride
    grid = torch.stack([xs[None].expand(height, width), ys[:, None].expand(height, width)], -1).reshape(-1, 2)
    return torch.cat([grid, torch.full_like(grid[:, :1], float(stride))], 1)


def _at(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of [B, N, C], one index [B, K] each: [B, K, C]."""
    return torch.gather(x, 1, rows[..., None].expand(-1, -1, x.shape[-1]))

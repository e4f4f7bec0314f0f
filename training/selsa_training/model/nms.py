"""Greedy non-maximum suppression of a batch as one operator with a fixed output shape.

Torch runs torchvision's NMS per frame; the exporter translates the operator to ONNX `NonMaxSuppression`,
which takes the whole batch. The fixed shape is what keeps the number of frames dynamic in the exported graph.
"""

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("selsa::greedy_nms", mutates_args=())
def greedy_nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, max_output: int
) -> tuple[Tensor, Tensor]:
    """Keep boxes by descending score, dropping every box whose IoU with a kept one is above the threshold.

    Args:
        boxes: float32 [B, N, 4] xyxy.
        scores: float32 [B, N].
        iou_threshold: suppress when IoU is strictly greater.
        score_threshold: boxes count only when their score is strictly greater.
        max_output: K, the largest number of kept boxes per frame.

    Returns:
        indices: int64 [B, K], into N, by descending score; 0 where fewer than K are kept.
        kept: bool [B, K], false in those places.
    """
    indices = torch.zeros(boxes.shape[0], max_output, dtype=torch.int64, device=boxes.device)
    kept = torch.zeros(boxes.shape[0], max_output, dtype=torch.bool, device=boxes.device)
    for frame in range(boxes.shape[0]):
        candidates = torch.nonzero(scores[frame] > score_threshold)[:, 0]
        chosen = nms(boxes[frame, candidates], scores[frame, candidates], iou_threshold)[:max_output]
        indices[frame, : len(chosen)] = candidates[chosen]
        kept[frame, : len(chosen)] = True
    return indices, kept


@greedy_nms.register_fake
def _(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, max_output: int
) -> tuple[Tensor, Tensor]:
    del scores, iou_threshold, score_threshold
    shape = (boxes.shape[0], max_output)
    return boxes.new_empty(shape, dtype=torch.int64), boxes.new_empty(shape, dtype=torch.bool)

"""Class scores and boxes of aggregated proposals, and the detections chosen from them."""

import torch
from torch import Tensor, nn

from selsa_training.config import DetectionConfig
from selsa_training.model.boxes import clip_boxes, decode_boxes
from selsa_training.model.nms import greedy_nms

NO_CANDIDATE = -1.0


class BoxPredictor(nn.Module):
    """Class logits (background last) and class-specific box deltas."""

    def __init__(self, width: int, class_count: int) -> None:
        super().__init__()
        self.classes = nn.Linear(width, class_count + 1)
        self.deltas = nn.Linear(width, class_count * 4)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, P, classes + 1] and deltas [B, P, classes * 4] of features [B, P, C]."""
        return self.classes(features), self.deltas(features)


class DetectionSelection(nn.Module):
    """Select at most D detections per frame from class scores and boxes.

    Source: mmdet 2.28 `BBoxHead.get_bboxes` and `multiclass_nms`, `score_thr=0.0001, iou_threshold=0.5,
    max_per_img=100`.
    """

    def __init__(self, config: DetectionConfig, box_std: tuple[float, float, float, float]) -> None:
        super().__init__()
        self.config = config
        self.box_std = box_std

    def forward(
        self,
        logits: Tensor,
        deltas: Tensor,
        boxes: Tensor,
        valid: Tensor,
        image_size: Tensor,
        scale_factor: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Detections of each frame, by descending score, zeros in the rows beyond `count`.

        Args:
            logits: [B, P, classes + 1].
            deltas: [B, P, classes * 4].
            boxes: [B, P, 4], proposals, xyxy in pixels of the resized frame.
            valid: bool [B, P].
            image_size: int64 [B, 2], (height, width) of the resized frames without padding.
            scale_factor: float32 [B, 2], resized size / source size along (x, y).

        Returns:
            detections float32 [B, D, 4] xyxy in source pixels, scores float32 [B, D], labels int64 [B, D],
            count int64 [B], proposals int64 [B, D]: the one that each came from.
        """
        batch, proposals, columns = logits.shape
        classes = columns - 1
        scores = logits.softmax(-1)[..., :classes]
        scores = torch.where(valid[..., None], scores, scores.new_tensor(NO_CANDIDATE))
        decoded = decode_boxes(
            boxes[:, :, None, :], deltas.reshape(batch, proposals, classes, 4), self.box_std
        ).reshape(batch, -1, 4)
        # Scale to source pixels before the suppression, as published: the rounding decides equal overlaps.
        in_source = clip_boxes(decoded, image_size) / scale_factor.repeat(1, 2)[:, None, :]
        return select_detections(in_source, scores.reshape(batch, -1), classes, self.config)


def select_detections(
    boxes: Tensor, scores: Tensor, classes: int, config: DetectionConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """At most D detections of each frame, by descending score, suppressed per class.

    One pass suppresses all classes, over boxes that are moved apart by class: candidates of class c are
    shifted by c * (largest candidate coordinate + 1) in float32; the rounding of the shifted boxes is part of
    the published result.

    Args:
        boxes: float32 [B, P * classes, 4], xyxy; one per proposal and class, the class running fastest.
        scores: float32 [B, P * classes].
        config: threshold, overlap and D.

    Returns:
        boxes float32 [B, D, 4], scores float32 [B, D], labels int64 [B, D], count int64 [B], proposals int64
        [B, D]: the one that each came from; zeros in the rows beyond `count`.
    """
    threshold = config.score_threshold
    candidate = scores > threshold
    reach = torch.where(candidate, boxes.amax(-1), boxes.new_zeros(())).amax(1) + 1
    label = torch.arange(boxes.shape[1], device=boxes.device) % classes
    shifted = boxes + (label.to(boxes.dtype)[None] * reach[:, None])[..., None]
    keep, kept = greedy_nms(shifted, scores, config.nms_iou, threshold, config.detections)
    return (
        torch.gather(boxes, 1, keep[..., None].expand(-1, -1, 4)) * kept[..., None],
        torch.gather(scores, 1, keep) * kept,
        torch.where(kept, keep % classes, keep.new_zeros(())),
        kept.sum(1),
        torch.where(kept, keep // classes, keep.new_zeros(())),
    )

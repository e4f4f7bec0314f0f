"""SELSA in plain PyTorch as one would write it after the published code.

What is kept between key frames are the neck's feature maps of the reference frames. For every key frame their
proposals are chosen, pooled and sent through the shared layers again, together with the key frame's own.
The layers are those of `selsa_training`, and so are the weights; only who computes what how often differs.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import nms, roi_align

from selsa_bundle.preprocess import PreparedFrame
from selsa_server.run_context import Stopwatch
from selsa_training.model.aggregation import AggregationStage, SequenceAttention
from selsa_training.model.backbone import STRIDE
from selsa_training.model.boxes import clip_boxes, decode_boxes
from selsa_training.model.detector import SelsaDetector

PARTS = (
    "backbone and neck", "RPN of the key frame", "RPN of the references", "RoIAlign of the key frame",
    "RoIAlign of the references", "shared layers and attention", "boxes and suppression",
)  # fmt: skip
UNIT_STD = (1.0, 1.0, 1.0, 1.0)

Detections = tuple[Tensor, Tensor, Tensor]


class PublishedForm:
    """The detector with the published code's structure. `clock` has the seconds of each part.

    Args:
        detector: in evaluation mode, on the device that computes.
        clock: with `PARTS`.
    """

    def __init__(self, detector: SelsaDetector, clock: Stopwatch) -> None:
        self._detector = detector
        self._clock = clock
        self._device = detector.mean.device
        self._maps: list[Tensor] = []
        self._sizes: list[tuple[int, int]] = []

    @torch.inference_mode()
    def remember(self, frames: Sequence[PreparedFrame]) -> None:
        """Feature maps of the reference frames, for all key frames to come."""
        self._maps = [self._features(frame) for frame in frames]
        self._sizes = [frame.image_size for frame in frames]

    @torch.inference_mode()
    def detect(self, frame: PreparedFrame) -> Detections:
        """Boxes [N, 4] xyxy in source pixels, scores [N] and labels [N] of a key frame."""
        clock, detector = self._clock, self._detector
        with clock("backbone and neck"):
            key_map = self._features(frame)
        with clock("RPN of the key frame"):
            (proposals,) = self._proposals(key_map, [frame.image_size])
        with clock("RPN of the references"):
            # The key frame is the last of its own references.
            maps = torch.cat([*self._maps, key_map])
            reference_proposals = self._proposals(maps, [*self._sizes, frame.image_size])
        with clock("RoIAlign of the key frame"):
            x = self._pooled(key_map, [proposals])
        with clock("RoIAlign of the references"):
            references = self._pooled(maps, reference_proposals)
        with clock("shared layers and attention"):
            for stage in detector.head.stages:
                assert isinstance(stage, AggregationStage)
                assert stage.attention is not None
                x, references = stage.fc(x), stage.fc(references)
                x = (x + _gathered(stage.attention, x, references)).relu()
                references = references.relu()
            logits, deltas = detector.predictor(x)
        with clock("boxes and suppression"):
            return self._detections(logits, deltas, proposals, frame)

    def _features(self, frame: PreparedFrame) -> Tensor:
        size = torch.tensor([frame.image_size], device=self._device)
        pixels = torch.from_numpy(frame.pixels).to(self._device)
        images = self._detector.normalise(pixels[None], size)
        features: Tensor = self._detector.neck(self._detector.backbone(images))
        return features

    def _proposals(self, maps: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Boxes [N, 4] of each frame: the convolutions together, the choice frame by frame."""
        objectness, deltas = self._detector.rpn(maps)
        config, anchors = self._detector.config.proposals, self._detector.proposals.grid(*maps.shape[2:])
        chosen = []
        for each_objectness, each_deltas, size in zip(objectness, deltas, sizes, strict=True):
            scores = each_objectness.permute(1, 2, 0).reshape(-1).sigmoid()
            scores, order = scores.sort(descending=True)
            scores, order = scores[: config.candidates], order[: config.candidates]
            moved = decode_boxes(anchors[order], each_deltas.permute(1, 2, 0).reshape(-1, 4)[order], UNIT_STD)
            boxes = clip_boxes(moved[None], torch.tensor([size], device=self._device))[0]
            has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
            boxes, scores = boxes[has_area], scores[has_area]
            chosen.append(boxes[nms(boxes, scores, config.nms_iou)[: config.proposals]])
        return chosen

    def _pooled(self, maps: Tensor, boxes: list[Tensor]) -> Tensor:
        head = self._detector.config.head
        pooled: Tensor = roi_align(
            maps, boxes, (head.roi_size, head.roi_size), 1 / STRIDE, head.sampling_ratio, aligned=True
        )
        return pooled.flatten(1)

    def _detections(
        self, logits: Tensor, deltas: Tensor, proposals: Tensor, frame: PreparedFrame
    ) -> Detections:
        device = self._device
        boxes, scores, labels, counts, _ = self._detector.detections(
            logits[None],
            deltas[None],
            proposals[None],
            torch.ones(1, len(proposals), dtype=torch.bool, device=device),
            torch.tensor([frame.image_size], device=device),
            torch.tensor([frame.scale_factor], device=device),
        )
        count = int(counts[0])
        return boxes[0, :count], scores[0, :count], labels[0, :count]


def _gathered(attention: SequenceAttention, x: Tensor, references: Tensor) -> Tensor:
    """What N proposals gather from M references: [N, C], the softmax written out."""
    heads, width = attention.heads, x.shape[1] // attention.heads
    query = attention.query(x).view(-1, heads, width).transpose(0, 1)
    key = attention.key(references).view(-1, heads, width).permute(1, 2, 0)
    value = attention.value(references).view(-1, heads, width).transpose(0, 1)
    weights = (query @ key / math.sqrt(width)).softmax(-1)
    gathered: Tensor = attention.out((weights @ value).transpose(0, 1).reshape(x.shape))
    return gathered

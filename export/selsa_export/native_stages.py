"""The two stages of the detector in the form that the native graphs are written from.

Same weights, same outputs up to rounding. What differs: bytes become floats before anything else happens to
them (TensorRT casts a uint8 input first or not at all); RoIAlign is two matrix products, with the weights of
the first shared layer put into the order they come in; the key frame's own memory and the bank are attended
to side by side, so that the bank is never copied; and, in half precision, what computes features does so in
float16, while whatever a box's coordinates pass through stays float32: between 512 and 1,024 pixels float16
knows only every half pixel.
"""

import copy
import itertools
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from selsa_training.model.aggregation import AggregationStage
from selsa_training.model.backbone import Backbone
from selsa_training.model.detector import Detections, FrameFeatures, SelsaDetector
from selsa_training.model.roi_align_matrices import roi_align_matrices

__all__ = ["NativeFrameStage", "NativePrecision", "NativeSequenceStage"]

NativePrecision = Literal["fp32", "fp16"]
TYPES = {"fp32": torch.float32, "fp16": torch.float16}
# Logits of rows that are no proposals; far below every other, and half precision can hold it.
MASKED = -6e4


class NativeFrameStage(nn.Module):
    """The frame engine; inputs and outputs of the tensor contract."""

    def __init__(self, detector: SelsaDetector, precision: NativePrecision = "fp32") -> None:
        super().__init__()
        detector = copy.deepcopy(detector)
        self.dtype = TYPES[precision]
        self.mean, self.std = detector.mean, detector.std
        self.backbone = _without_batch_norm(detector.backbone).to(self.dtype)
        self.neck = detector.neck.to(self.dtype)
        self.rpn = detector.rpn.to(self.dtype)
        self.proposals = detector.proposals
        self.roi = detector.roi_features
        head = detector.head
        first = head.stages[0]
        assert isinstance(first, AggregationStage)
        first.fc = _cell_by_cell(first.fc, self.roi.size)
        self.head = head.to(self.dtype)

    def forward(self, frames: Tensor, image_size: Tensor) -> FrameFeatures:
        """See the tensor contract."""
        features = self.neck(self.backbone(self._normalise(frames, image_size)))
        objectness, deltas = self.rpn(features)
        boxes, valid = self.proposals(objectness.float(), deltas.float(), image_size)
        queries, memory = self.head.memorise(self._pool(features, boxes))
        return FrameFeatures(boxes, valid, queries.float(), memory.float())

    def _normalise(self, frames: Tensor, image_size: Tensor) -> Tensor:
        """`SelsaDetector.normalise`, bytes to floats first: [B, 3, H, W]."""
        images = frames.to(torch.float32).permute(0, 3, 1, 2)
        _, _, height, width = images.shape
        inside_h = torch.arange(height)[None] < image_size[:, :1]
        inside_w = torch.arange(width)[None] < image_size[:, 1:]
        inside = (inside_h[:, :, None] & inside_w[:, None, :])[:, None]
        normalised = (images - self.mean) / self.std
        return torch.where(inside, normalised, normalised.new_zeros(())).to(self.dtype)

    def _pool(self, features: Tensor, boxes: Tensor) -> Tensor:
        """RoI features [B, P, size * size * channels] of features [B, channels, h, w], column by column.

        Frames are rarely higher than wide, and what lies between the two products is smallest when the
        longer side goes first.
        """
        turned = torch.stack([boxes[..., 1], boxes[..., 0], boxes[..., 3], boxes[..., 2]], dim=-1)
        roi = self.roi
        cells = roi_align_matrices(
            features.transpose(2, 3),
            turned,
            size=roi.size,
            sampling_ratio=roi.sampling_ratio,
            scale=roi.scale,
        )
        return cells.flatten(2)


class NativeSequenceStage(nn.Module):
    """The sequence engine; inputs and outputs of the tensor contract."""

    def __init__(self, detector: SelsaDetector, precision: NativePrecision = "fp32") -> None:
        super().__init__()
        detector = copy.deepcopy(detector)
        self.dtype = TYPES[precision]
        self.head = detector.head.to(self.dtype)
        self.predictor = detector.predictor.to(self.dtype)
        self.detections = detector.detections

    def forward(
        self,
        boxes: Tensor,
        valid: Tensor,
        queries: Tensor,
        memory: Tensor,
        image_size: Tensor,
        scale_factor: Tensor,
        bank: Tensor,
        bank_valid: Tensor,
    ) -> Detections:
        """See the tensor contract."""
        queries, memory, bank = (x.to(self.dtype) for x in (queries, memory, bank))
        x = self._aggregate(queries, valid, memory, bank, bank_valid)
        logits, deltas = self.predictor(x)
        found = self.detections(logits.float(), deltas.float(), boxes, valid, image_size, scale_factor)
        return Detections(*found)

    def _aggregate(
        self, queries: Tensor, valid: Tensor, memory: Tensor, bank: Tensor, bank_valid: Tensor
    ) -> Tensor:
        """`AggregationHead.aggregate` with the two memories apart."""
        # A frame without proposals attends to its own padding rather than to nothing.
        own_valid = valid | ~valid.any(dim=1, keepdim=True)
        masks = (own_valid[:, None, None, :], bank_valid[None, None, None, :])
        x = queries
        for index, stage in enumerate(self.head.stages):
            assert isinstance(stage, AggregationStage)
            if index > 0:
                x = stage.fc(x)
            if stage.attention is not None:
                attention = stage.attention
                own, shared = memory[:, index], bank[index][None]
                gathered = _attend(attention.query(x), own, shared, masks, attention.heads)
                x = x + attention.out(gathered)
            x = x.relu()
        return x


def _attend(query: Tensor, own: Tensor, bank: Tensor, masks: tuple[Tensor, Tensor], heads: int) -> Tensor:
    """One softmax over two memories, side by side.

    Args:
        query: [B, P, C].
        own: [B, 2, P, C], key and value of the key frames' own proposals.
        bank: [1, 2, R, C], key and value of the reference frames' proposals, for all B.
        masks: bool [B, 1, 1, P] and [1, 1, 1, R], true where a row is a proposal.
        heads: how many heads; divides C.

    Returns:
        [B, P, C], heads concatenated.
    """
    batch, count, width = query.shape
    size = width // heads
    q = (query * size**-0.5).reshape(batch, count, heads, size).transpose(1, 2)
    logits, values = [], []
    for memory, mask in zip((own, bank), masks, strict=True):
        key, value = (x.reshape(x.shape[0], -1, heads, size) for x in (memory[:, 0], memory[:, 1]))
        dots = torch.matmul(q, key.permute(0, 2, 3, 1)).float()
        logits.append(torch.where(mask, dots, dots.new_tensor(MASKED)))
        values.append(value.transpose(1, 2))
    highest = torch.maximum(*(x.amax(-1, keepdim=True) for x in logits))
    weights = [(x - highest).exp() for x in logits]
    total = weights[0].sum(-1, keepdim=True) + weights[1].sum(-1, keepdim=True)
    parts = [torch.matmul((w / total).to(q.dtype), v) for w, v in zip(weights, values, strict=True)]
    return (parts[0] + parts[1]).transpose(1, 2).reshape(batch, count, width)


def _cell_by_cell(layer: nn.Linear, size: int) -> nn.Linear:
    """The layer for RoI features in the order (column, row, channel) instead of (channel, row, column)."""
    weight = layer.weight.reshape(layer.out_features, -1, size, size).permute(0, 3, 2, 1)
    turned = nn.Linear(layer.in_features, layer.out_features)
    turned.weight = nn.Parameter(weight.flatten(1).contiguous(), requires_grad=False)
    turned.bias = layer.bias
    return turned


def _without_batch_norm(backbone: Backbone) -> Backbone:
    """Each batch normalisation multiplied into the convolution before it, in float32, in place."""
    leaves = [(name, module) for name, module in backbone.named_modules() if not list(module.children())]
    for (name, conv), (following, norm) in itertools.pairwise(leaves):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            _replace(backbone, name, fuse_conv_bn_eval(conv, norm))
            _replace(backbone, following, nn.Identity())
    return backbone


def _replace(parent: nn.Module, path: str, module: nn.Module) -> None:
    *above, name = path.split(".")
    parent.get_submodule(".".join(above)).add_module(name, module)

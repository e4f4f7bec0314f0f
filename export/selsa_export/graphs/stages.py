"""The two stages of the detector in the form that the graphs are written from, for every runtime.

Weights are the same, and outputs are equal up to rounding. The differences to the model are:

- Bytes are converted to floats first, because TensorRT allows a cast of a uint8 input only as the first
  operation.
- RoIAlign may be two matrix products. The weights of the first shared layer are then reordered to match.
- Attention reads the key frame's own memory and the bank separately, so the bank is never copied.
- The rows of all frames go through the head's layers together, so each layer is one product with its bias.
- In half precision, layers that compute features use float16. Everything that computes box coordinates stays
  float32, because the step of float16 between 512 and 1,024 is half a pixel.
"""

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from selsa_export.graphs.precision import TYPES, FloatPrecision
from selsa_export.graphs.roi_align import RoiProducts
from selsa_training.model.aggregation import AggregationStage, SequenceAttention, own_rows
from selsa_training.model.backbone import Backbone
from selsa_training.model.detector import Detections, FrameFeatures, SelsaDetector

# Added to the logits of padding rows; the softmax gives them weight 0 if any other row exists.
MASKED = -1e30


class FrameGraph(nn.Module):
    """The frame engine; inputs and outputs of the tensor contract.

    Args:
        detector: in evaluation mode, on the CPU; it is not modified.
        precision: of the layers that compute features.
        roi_products: compute RoIAlign with two matrix products instead of one operator.
    """

    def __init__(self, detector: SelsaDetector, precision: FloatPrecision, *, roi_products: bool) -> None:
        super().__init__()
        detector = copy.deepcopy(detector)
        self.dtype = TYPES[precision]
        self.mean, self.std = detector.mean, detector.std
        self.backbone = _without_batch_norm(detector.backbone).to(self.dtype)
        self.neck = detector.neck.to(self.dtype)
        self.rpn = detector.rpn.to(self.dtype)
        self.proposals = detector.proposals
        self.roi = detector.roi_features
        self.products: RoiProducts | None = None
        head = detector.head
        if roi_products:
            self.products = RoiProducts(
                size=self.roi.size, sampling_ratio=self.roi.sampling_ratio, scale=self.roi.scale
            )
            first = head.stages[0]
            assert isinstance(first, AggregationStage)
            first.fc = self.products.reordered(first.fc)
        self.head = head.to(self.dtype)

    def forward(self, frames: Tensor, image_size: Tensor) -> FrameFeatures:
        """See the tensor contract."""
        features = self.neck(self.backbone(self._normalise(frames, image_size)))
        objectness, deltas = self.rpn(features)
        boxes, valid = self.proposals(objectness.float(), deltas.float(), image_size)
        pooled = (
            self.roi(features, boxes).flatten(0, 1)
            if self.products is None
            else self.products(features, boxes)
        )
        rows = self._memorise(pooled)
        batch, count, _ = boxes.shape
        queries, *memory = (x.float().reshape(batch, count, -1) for x in rows)
        kept = torch.stack(memory, dim=1).reshape(batch, len(self.head.stages), 2, count, -1)
        return FrameFeatures(boxes, valid, queries, kept)

    def _normalise(self, frames: Tensor, image_size: Tensor) -> Tensor:
        """As `SelsaDetector.normalise`, but converts bytes to floats first: [B, 3, H, W]."""
        images = frames.to(torch.float32).permute(0, 3, 1, 2)
        _, _, height, width = images.shape
        inside_h = (torch.arange(height)[None] < image_size[:, :1]).to(torch.float32)
        inside_w = (torch.arange(width)[None] < image_size[:, 1:]).to(torch.float32)
        inside = (inside_h[:, :, None] * inside_w[:, None, :])[:, None]
        return ((images - self.mean) / self.std * inside).to(self.dtype)

    def _memorise(self, roi_features: Tensor) -> list[Tensor]:
        """As `AggregationHead.memorise`: queries, then key and value of each stage, [rows, C] each."""
        first = self.head.stages[0]
        assert isinstance(first, AggregationStage)
        queries = first.fc(roi_features)
        return [queries, *(part for pair in self.head.memories(queries) for part in pair)]


class SequenceGraph(nn.Module):
    """The sequence engine; inputs and outputs of the tensor contract.

    Args:
        detector: in evaluation mode, on the CPU; it is not modified.
        precision: of layers and products; softmax, boxes and suppression are float32.
    """

    def __init__(self, detector: SelsaDetector, precision: FloatPrecision) -> None:
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
        batch, count, _ = queries.shape
        queries, memory, bank = (x.to(self.dtype) for x in (queries, memory, bank))
        x = self._aggregate(queries, valid, memory, bank, bank_valid)
        logits, deltas = (x.float().reshape(batch, count, -1) for x in self.predictor(x))
        return Detections(*self.detections(logits, deltas, boxes, valid, image_size, scale_factor))

    def _aggregate(
        self, queries: Tensor, valid: Tensor, memory: Tensor, bank: Tensor, bank_valid: Tensor
    ) -> Tensor:
        """As `AggregationHead.aggregate`, with the two memories kept separate: [B * P, C]."""
        bias = (mask_bias(own_rows(valid))[:, None, None, :], mask_bias(bank_valid))
        batch, count, width = queries.shape
        # Keys and values of all stages are on one axis, so one operator splits them.
        own = memory.reshape(batch, -1, count, width)
        shared = bank.reshape(1, -1, bank.shape[2], width)

        def gather(stage: int, attention: SequenceAttention, x: Tensor) -> Tensor:
            key, value = 2 * stage, 2 * stage + 1
            gathered = attend(
                attention.query(x).reshape(batch, count, width),
                (own[:, key], own[:, value]),
                (shared[:, key], shared[:, value]),
                bias,
                attention.heads,
            )
            result: Tensor = attention.out(gathered.reshape(-1, width))
            return result

        return self.head.attended(queries.reshape(-1, width), gather)


def _without_batch_norm(backbone: Backbone) -> Backbone:
    """Fold each batch normalisation into the convolution before it, in float32, in place."""
    leaves = [(name, module) for name, module in backbone.named_modules() if not list(module.children())]
    for (name, conv), (following, norm) in itertools.pairwise(leaves):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            _replace(backbone, name, fuse_conv_bn_eval(conv, norm))
            _replace(backbone, following, nn.Identity())
    return backbone


def _replace(parent: nn.Module, path: str, module: nn.Module) -> None:
    *above, name = path.split(".")
    parent.get_submodule(".".join(above)).add_module(name, module)


def mask_bias(valid: Tensor) -> Tensor:
    """The bias to add to logits: float32, 0 where a row is a proposal, `MASKED` elsewhere."""
    return torch.where(valid, 0.0, MASKED)


def attend(
    query: Tensor,
    own: tuple[Tensor, Tensor],
    bank: tuple[Tensor, Tensor],
    bias: tuple[Tensor, Tensor],
    heads: int,
) -> Tensor:
    """Attention of `query` over both memories, with one softmax.

    The memories are never concatenated: all key frames of a batch share the bank, and concatenation would
    copy it once per key frame.

    Args:
        query: [B, P, C].
        own: keys and values of the key frames' own proposals, each [B, P, C].
        bank: keys and values of the reference frames' proposals, each [1, R, C], for all B.
        bias: float32 [B, 1, 1, P] and [R], from `mask_bias`.
        heads: number of heads; divides C.

    Returns:
        [B, P, C], heads concatenated.
    """
    batch, count, width = query.shape
    size = width // heads
    q = (query * size**-0.5).reshape(batch, count, heads, size).transpose(1, 2)
    memories = (_by_head(*own, heads), _by_head(*bank, heads))
    logits = [torch.matmul(q, key).float() + each for (key, _), each in zip(memories, bias, strict=True)]
    highest = torch.maximum(*(x.amax(-1, keepdim=True) for x in logits))
    weights = [(x - highest).exp() for x in logits]
    total = weights[0].sum(-1, keepdim=True) + weights[1].sum(-1, keepdim=True)
    exact = q.dtype == torch.float32
    # Dividing the result is cheaper. In half precision the undivided result could overflow, so divide the
    # weights.
    shares = weights if exact else [(x / total).to(q.dtype) for x in weights]
    parts = [torch.matmul(x, value) for x, (_, value) in zip(shares, memories, strict=True)]
    gathered = (parts[0] + parts[1]) / total if exact else parts[0] + parts[1]
    return gathered.transpose(1, 2).reshape(batch, count, width)


def _by_head(key: Tensor, value: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """[B, L, C] each -> [B, heads, C / heads, L] and [B, heads, L, C / heads]."""
    batch, rows, width = key.shape
    key, value = (x.reshape(batch, rows, heads, width // heads) for x in (key, value))
    return key.permute(0, 2, 3, 1), value.transpose(1, 2)

"""The detector. It has two stages, and each becomes one engine."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from selsa_bundle.contract import Dimensions
from selsa_training.config import ModelConfig
from selsa_training.model.aggregation import AggregationHead
from selsa_training.model.backbone import STRIDE, Backbone
from selsa_training.model.predictor import BoxPredictor, DetectionSelection
from selsa_training.model.roi_align_matrices import MAX_CELLS, roi_align_matrices
from selsa_training.model.rpn import ProposalSelection, RegionProposalNetwork


class FrameFeatures(NamedTuple):
    """Outputs of the frame stage for B frames; the tensor contract's frame outputs."""

    boxes: Tensor
    valid: Tensor
    queries: Tensor
    memory: Tensor


class Detections(NamedTuple):
    """Outputs of the sequence stage for B key frames; the tensor contract's sequence outputs."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    counts: Tensor
    proposals: Tensor


class Detector(Protocol):
    """The two stages of a model of any family, as torch modules that become the two engines."""

    @property
    def frame_outputs(self) -> Callable[..., tuple[Tensor, ...]]:
        """Builds the first argument of `sequence_stage` from the frame engine's outputs, in order."""
        ...

    @property
    def dimensions(self) -> Dimensions:
        """The fixed dimensions P, C, S and D."""
        ...

    @property
    def architecture(self) -> str:
        """Short description of the model, for a bundle's provenance."""
        ...

    def normalise(self, frames: Tensor, image_size: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] of uint8 frames [B, H, W, 3] and their sizes, int64 [B, 2]."""
        ...

    def frame_stage(self, images: Tensor, image_size: Tensor) -> tuple[Tensor, ...]:
        """Everything of a frame that does not depend on another frame: the frame engine's outputs."""
        ...

    @property
    def sequence_stage(self) -> Callable[..., Detections]:
        """Detections of B key frames that share one bank.

        Called with `frame_outputs` of the key frames, image_size int64 [B, 2], scale_factor float32 [B, 2],
        and the sequence engine's inputs of the bank, in order.
        """
        ...


class Neck(nn.Module):
    """3x3 convolution with bias, then ReLU, no norm; reduces the channels. Source: mmdet `ChannelMapper`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """[B, in, h, w] -> [B, out, h, w]."""
        x: Tensor = self.relu(self.conv(features))
        return x


class RoiFeatures(nn.Module):
    """RoIAlign with half-pixel alignment. Source: mmcv 1.7 `RoIAlign(aligned=True, sampling_ratio=2)`."""

    def __init__(self, size: int, sampling_ratio: int, stride: int) -> None:
        super().__init__()
        self.size = size
        self.sampling_ratio = sampling_ratio
        self.scale = 1.0 / stride

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Pool every box from its own frame's features.

        Args:
            features: [B, channels, h, w].
            boxes: [B, P, 4] xyxy in pixels of the resized frame.

        Returns:
            [B, P, channels * size * size], channel-major.
        """
        batch, count = boxes.shape[:2]
        frame = torch.arange(batch, device=boxes.device, dtype=boxes.dtype)
        frame = frame[:, None, None].expand(batch, count, 1)
        rois = torch.cat([frame, boxes], dim=2).reshape(-1, 5)
        pooled = roi_align(
            features, rois, (self.size, self.size), self.scale, self.sampling_ratio, aligned=True
        )
        features_BPF: Tensor = pooled.reshape(batch, count, -1)
        return features_BPF

    def learn(self, features: Tensor, boxes: Tensor) -> Tensor:
        """The same features in the order that training uses, cell by cell: [B, P, size * size, channels]."""
        if features.device.type == "cpu" and features.shape[2:].numel() <= MAX_CELLS:
            return roi_align_matrices(
                features, boxes, size=self.size, sampling_ratio=self.sampling_ratio, scale=self.scale
            )
        pooled: Tensor = self(features, boxes)
        return pooled.reshape(*boxes.shape[:2], features.shape[1], -1).transpose(2, 3)


class SelsaDetector(nn.Module):
    """SELSA Faster R-CNN, composed of the given parts; see `build_detector`."""

    mean: Tensor
    std: Tensor
    frame_outputs = FrameFeatures

    def __init__(
        self,
        config: ModelConfig,
        *,
        backbone: Backbone,
        neck: Neck,
        rpn: RegionProposalNetwork,
        proposals: ProposalSelection,
        roi_features: RoiFeatures,
        head: AggregationHead,
        predictor: BoxPredictor,
        detections: DetectionSelection,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.neck = neck
        self.rpn = rpn
        self.proposals = proposals
        self.roi_features = roi_features
        self.head = head
        self.predictor = predictor
        self.detections = detections
        self.register_buffer("mean", torch.tensor(config.preprocess.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.preprocess.std)[:, None, None], persistent=False)

    @property
    def dimensions(self) -> Dimensions:
        """The fixed dimensions P, C, S and D."""
        config = self.config
        return Dimensions(
            proposals=config.proposals.proposals,
            width=config.head.width,
            stages=config.head.stages,
            detections=config.detections.detections,
            names_proposals=True,
            bank_proposals=config.proposals.reference_proposals,
        )

    @property
    def architecture(self) -> str:
        """Backbone and stages."""
        return f"{self.config.backbone} DC5, {self.config.head.stages} aggregation stages"

    def normalise(self, frames: Tensor, image_size: Tensor) -> Tensor:
        """Normalised images with zero padding.

        Args:
            frames: uint8 or float32 [B, H, W, 3], RGB, resized and padded.
            image_size: int64 [B, 2], (height, width) without the padding.

        Returns:
            float32 [B, 3, H, W], (x - mean) / std, exactly 0 in the padding: the published pipeline pads
            after normalising.
        """
        _, height, width, _ = frames.shape
        inside_h = torch.arange(height, device=frames.device)[None] < image_size[:, :1]
        inside_w = torch.arange(width, device=frames.device)[None] < image_size[:, 1:]
        inside = (inside_h[:, :, None] & inside_w[:, None, :])[:, None]
        # Permute before the conversion: bytes move four times as fast, and rows broadcast best.
        images = frames.permute(0, 3, 1, 2).to(torch.float32)
        normalised = (images - self.mean) / self.std
        return torch.where(inside, normalised, normalised.new_zeros(()))

    def frame_stage(self, images: Tensor, image_size: Tensor) -> FrameFeatures:
        """Everything of a frame that does not depend on another frame.

        Args:
            images: float32 [B, 3, H, W] from `normalise`.
            image_size: int64 [B, 2].
        """
        features = self.neck(self.backbone(images))
        objectness, deltas = self.rpn(features)
        boxes, valid = self.proposals(objectness, deltas, image_size)
        queries, memory = self.head.memorise(self.roi_features(features, boxes))
        return FrameFeatures(boxes, valid, queries, memory)

    def sequence_stage(
        self, frame: FrameFeatures, image_size: Tensor, scale_factor: Tensor, bank: Tensor, bank_valid: Tensor
    ) -> Detections:
        """Detections of B key frames that share one bank.

        Args:
            frame: the frame stage's output for the key frames.
            image_size: int64 [B, 2], (height, width) of the resized frames without padding.
            scale_factor: float32 [B, 2], resized size / source size along (x, y).
            bank: float32 [S, 2, R, C], memory of the reference frames' proposals, frame by frame.
            bank_valid: bool [R].
        """
        features = self.head.aggregate(frame.queries, frame.valid, frame.memory, bank, bank_valid)
        logits, deltas = self.predictor(features)
        return Detections(
            *self.detections(logits, deltas, frame.boxes, frame.valid, image_size, scale_factor)
        )


def build_detector(config: ModelConfig) -> SelsaDetector:
    """The detector of a configuration, with freshly initialised weights, in training mode."""
    head = config.head
    backbone = Backbone(config.backbone)
    return SelsaDetector(
        config,
        backbone=backbone,
        neck=Neck(backbone.channels, config.neck_channels),
        rpn=RegionProposalNetwork(config.neck_channels, config.rpn_channels, config.anchors.count),
        proposals=ProposalSelection(config.anchors, config.proposals, STRIDE),
        roi_features=RoiFeatures(head.roi_size, head.sampling_ratio, STRIDE),
        head=AggregationHead(
            config.neck_channels * head.roi_size**2,
            head.width,
            head.heads,
            head.stages,
            aggregation=head.aggregation,
        ),
        predictor=BoxPredictor(head.width, len(config.classes)),
        detections=DetectionSelection(config.detections, head.box_std),
    )

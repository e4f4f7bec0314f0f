"""The everyday detector as two stages, which become the two engines."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from selsa_bundle.contract import Dimensions
from selsa_training.everyday.config import EverydayConfig
from selsa_training.everyday.nanodet import CLASSES, FEATURES, NanoDet
from selsa_training.everyday.proposals import BestAnchors, Proposals
from selsa_training.everyday.stage import PointFeatures, Projection, Rows, SelsaStage
from selsa_training.model.boxes import clip_boxes
from selsa_training.model.detector import Detections
from selsa_training.model.predictor import select_detections


class EverydayFeatures(NamedTuple):
    """The frame stage's outputs for B frames, as in the tensor contract.

    Attributes:
        boxes: float32 [B, P, 4], xyxy in pixels of the resized frame, by descending best score.
        valid: bool [B, P].
        logits: float32 [B, P, 80], the frozen detector's.
        points: float32 [B, P, 128], standardised features of the anchors.
        keys: float32 [B, heads, P, head width].
    """

    boxes: Tensor
    valid: Tensor
    logits: Tensor
    points: Tensor
    keys: Tensor


class EverydayDetector(nn.Module):
    """SELSA over NanoDet-g."""

    mean: Tensor
    std: Tensor
    frame_outputs = EverydayFeatures

    def __init__(self, config: EverydayConfig) -> None:
        super().__init__()
        self.config = config
        self.nanodet = NanoDet()
        self.proposals = BestAnchors(config.proposals)
        self.points = PointFeatures()
        self.key = Projection(config.stage)
        self.stage = SelsaStage(config.stage)
        # Queries start equal to keys, so similar proposals attend to each other from the first step.
        self.stage.query.load_state_dict(self.key.state_dict())
        self.register_buffer("mean", torch.tensor(config.preprocess.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.preprocess.std)[:, None, None], persistent=False)

    @property
    def dimensions(self) -> Dimensions:
        """The fixed dimensions of the tensors."""
        stage = self.config.stage
        return Dimensions(
            family=self.config.family,
            proposals=self.config.proposals.proposals,
            bank_proposals=stage.reference_proposals,
            width=FEATURES,
            classes=CLASSES,
            heads=stage.heads,
            key_width=stage.head_width,
            detections=self.config.detections.detections,
            names_proposals=True,
        )

    @property
    def architecture(self) -> str:
        """Detector and stage."""
        return "NanoDet-g, one SELSA stage over its logits"

    def normalise(self, frames: Tensor, image_size: Tensor) -> Tensor:
        """Normalised images, float32 [B, 3, H, W], BGR, 0 in the padding.

        Args:
            frames: uint8 [B, H, W, 3], RGB, resized and padded.
            image_size: int64 [B, 2], (height, width) without the padding.
        """
        _, height, width, _ = frames.shape
        inside_h = torch.arange(height, device=frames.device)[None] < image_size[:, :1]
        inside_w = torch.arange(width, device=frames.device)[None] < image_size[:, 1:]
        inside = (inside_h[:, :, None] & inside_w[:, None, :])[:, None].to(torch.float32)
        images = frames.to(torch.float32).permute(0, 3, 1, 2)
        return ((images - self.mean) / self.std * inside).flip(1)

    def propose(self, images: Tensor, image_size: Tensor) -> Proposals:
        """The frozen detector's proposals of normalised images."""
        found: Proposals = self.proposals(self.nanodet(images), image_size)
        return found

    def frame_stage(self, images: Tensor, image_size: Tensor) -> EverydayFeatures:
        """The outputs that depend on one frame only."""
        found = self.propose(images, image_size)
        points = self.points(found.features)
        return EverydayFeatures(found.boxes, found.valid, found.logits, points, self.key(points))

    def mix(self, frame: EverydayFeatures, bank: Rows) -> Tensor:
        """Logits [B, P, 80] of key frames that share one bank, [1, R, ...]."""
        own = Rows(frame.keys, frame.logits, frame.valid)
        mixed: Tensor = self.stage(frame.points, own, bank)
        return mixed

    def sequence_stage(
        self,
        frame: EverydayFeatures,
        image_size: Tensor,
        scale_factor: Tensor,
        bank_logits: Tensor,
        bank_keys: Tensor,
        bank_valid: Tensor,
    ) -> Detections:
        """Detections of B key frames that share one bank.

        Args:
            frame: the frame stage's output for the key frames.
            image_size: int64 [B, 2], (height, width) of the resized frames without padding.
            scale_factor: float32 [B, 2], resized size / source size along (x, y).
            bank_logits: float32 [R, 80].
            bank_keys: float32 [heads, R, head width].
            bank_valid: bool [R].
        """
        bank = Rows(bank_keys[None], bank_logits[None], bank_valid[None])
        scores = self.mix(frame, bank).sigmoid() * frame.valid[..., None]
        boxes = clip_boxes(frame.boxes, image_size) / scale_factor.repeat(1, 2)[:, None, :]
        boxes = boxes[:, :, None].expand(-1, -1, CLASSES, -1).flatten(1, 2)
        return Detections(*select_detections(boxes, scores.flatten(1), CLASSES, self.config.detections))

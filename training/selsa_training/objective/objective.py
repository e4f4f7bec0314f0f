"""The detector and its losses as one module with one forward call, as a data-parallel wrapper requires."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from selsa_training.config import ProposalConfig
from selsa_training.model.backbone import STRIDE
from selsa_training.model.boxes import clip_boxes
from selsa_training.model.detector import SelsaDetector
from selsa_training.model.rpn import ProposalSelection
from selsa_training.objective.ground_truth import GroundTruth
from selsa_training.objective.losses import FrameLosses, head_losses, rpn_losses
from selsa_training.objective.matching import Match, add_true_boxes, match_boxes
from selsa_training.objective.sampling import Choice, choose, random_numbers
from selsa_training.recipe.recipe import Recipe

LOSSES: Final = ("rpn_score", "rpn_box", "head_score", "head_box")
# Purposes of random numbers; see `random_numbers`.
_ANCHORS, _BOXES, _JITTER = 1, 2, 3


class SampledBoxes(NamedTuple):
    """The head's input boxes of F key frames: proposals, true boxes, moved copies of true boxes.

    Attributes:
        boxes: float32 [F, N, 4], xyxy in pixels of the resized frame.
        valid: bool [F, N].
        match: their assignment to objects.
        choice: those that enter the losses.
    """

    boxes: Tensor
    valid: Tensor
    match: Match
    choice: Choice


class DetectorObjective(nn.Module):
    """The losses of a batch of samples.

    Args:
        autocast: context in which the network runs; losses and boxes are always float32.
    """

    def __init__(
        self,
        detector: SelsaDetector,
        recipe: Recipe,
        *,
        autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.recipe = recipe
        self._autocast = autocast
        config = detector.config
        learning = ProposalConfig(
            candidates=config.proposals.candidates,
            nms_iou=config.proposals.nms_iou,
            proposals=recipe.rpn.proposals,
        )
        self.learning_proposals = ProposalSelection(config.anchors, learning, STRIDE)

    def forward(
        self,
        frames: Tensor,
        image_size: Tensor,
        truth: GroundTruth,
        seeds: Tensor,
        frames_each: int,
        present: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The four losses of `LOSSES`, each a mean over the B samples.

        Args:
            frames: uint8 [B * T, H, W, 3]; frame t of sample b is row b * T + t, key frames at t = 0.
            image_size: int64 [B * T, 2], (height, width) without padding.
            truth: objects of the B * T frames.
            seeds: int64 [B], on the CPU, one per sample.
            frames_each: T.
            present: bool [B * T], false for repeated frames that fill up a sample; key frames do not attend
                to them. Default: all true.
        """
        images = self.detector.normalise(frames, image_size)
        with self._autocast():
            features = self.detector.neck(self.detector.backbone(images))
            objectness, deltas = self.detector.rpn(features)
        keys = self._keys(len(frames), frames_each, frames.device)
        others = self._others(keys, len(frames))
        objectness, deltas = objectness.float(), deltas.float()
        key_truth, key_size = truth[keys], image_size[keys]
        rpn = self._rpn_losses(objectness[keys], deltas[keys], key_size, key_truth, seeds)
        with torch.no_grad():
            boxes, valid = self.learning_proposals(objectness[keys], deltas[keys], key_size)
        sampled = self.sample_boxes(boxes, valid, key_truth, key_size, seeds)
        rows, rows_valid = None, sampled.valid
        if len(others):
            with torch.no_grad():
                rows, rows_valid = self.detector.proposals(
                    objectness[others], deltas[others], image_size[others]
                )
            if present is not None:
                rows_valid = rows_valid & present[others, None]
        with self._autocast():
            pool = self.detector.roi_features.learn
            logits, offsets = self._head(
                pool(features[keys], sampled.boxes),
                None if rows is None else pool(features[others], rows),
                rows_valid,
                len(seeds),
            )
        shape = sampled.valid.shape
        head = head_losses(
            logits.float().reshape(*shape, -1),
            offsets.float().reshape(*shape, -1, 4),
            sampled.boxes,
            sampled.match,
            sampled.choice,
            key_truth,
            std=self.detector.config.head.box_std,
            beta=self.recipe.head.beta,
        )
        return dict(zip(LOSSES, (*rpn.means(len(seeds)), *head.means(len(seeds))), strict=True))

    def sample_anchors(
        self, anchors: Tensor, image_size: Tensor, truth: GroundTruth, seeds: Tensor
    ) -> tuple[Match, Choice]:
        """Assign the anchors of F key frames to objects and sample those that enter the RPN's losses.

        Args:
            anchors: float32 [A, 4], xyxy in pixels of the resized frame.
            image_size: int64 [F, 2].
            seeds: int64 [B], on the CPU; F is a multiple of B.
        """
        frames = len(image_size)
        size = image_size.flip(1)[:, None, :]
        # Anchors that are partly outside the frame do not enter the loss: mmdet's `allowed_border=0`.
        inside = (anchors[:, :2] >= 0).all(-1) & (anchors[None, :, 2:] < size).all(-1)
        match = match_boxes(anchors.expand(frames, -1, -1), inside, truth, self.recipe.rpn.matching)
        numbers = random_numbers(seeds, _ANCHORS, frames // len(seeds), len(anchors)).to(anchors.device)
        recipe = self.recipe.rpn
        return match, choose(match, numbers, count=recipe.samples, positive_share=recipe.positive_share)

    @torch.no_grad()
    def sample_boxes(
        self, proposals: Tensor, valid: Tensor, truth: GroundTruth, image_size: Tensor, seeds: Tensor
    ) -> SampledBoxes:
        """Assign the proposals of F key frames to objects and sample those that enter the head's losses.

        Args:
            proposals: float32 [F, P, 4], xyxy in pixels of the resized frame.
            valid: bool [F, P].
            image_size: int64 [F, 2].
            seeds: int64 [B], on the CPU; F is a multiple of B.
        """
        recipe, each = self.recipe.head, len(proposals) // len(seeds)
        boxes, valid, own = self._with_truth(proposals, valid, truth, image_size, seeds, each)
        match = match_boxes(boxes, valid & (own < 0), truth, recipe.matching)
        match = add_true_boxes(match, own)
        choice = Choice(match.positive, match.negative)
        if recipe.samples:
            numbers = random_numbers(seeds, _BOXES, each, boxes.shape[1]).to(boxes.device)
            choice = choose(match, numbers, count=recipe.samples, positive_share=recipe.positive_share)
        return SampledBoxes(boxes, valid, match, choice)

    def _keys(self, frames: int, frames_each: int, device: torch.device) -> Tensor:
        step = 1 if self.recipe.sampling.key_frames == "all" else frames_each
        return torch.arange(0, frames, step, device=device)

    def _others(self, keys: Tensor, frames: int) -> Tensor:
        """Frames that are only reference frames; none if every frame is a key frame in turn."""
        other = torch.ones(frames, dtype=torch.bool, device=keys.device)
        other[keys] = False
        return other.nonzero()[:, 0]

    def _rpn_losses(
        self, objectness: Tensor, deltas: Tensor, image_size: Tensor, truth: GroundTruth, seeds: Tensor
    ) -> FrameLosses:
        frames, _, height, width = objectness.shape
        anchors = self.detector.proposals.grid(height, width)
        match, choice = self.sample_anchors(anchors, image_size, truth, seeds)
        return rpn_losses(
            objectness.permute(0, 2, 3, 1).reshape(frames, -1),
            deltas.permute(0, 2, 3, 1).reshape(frames, -1, 4),
            anchors,
            match,
            choice,
            truth,
            beta=self.recipe.rpn.beta,
        )

    def _with_truth(
        self,
        boxes: Tensor,
        valid: Tensor,
        truth: GroundTruth,
        image_size: Tensor,
        seeds: Tensor,
        frames_each: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Append every true box and its moved copies, because early proposals overlap no object.

        They are ordered by object, so that a box's random numbers do not depend on the padding of the batch.

        Returns:
            boxes float32 [F, N, 4] and valid bool [F, N]; own int64 [F, N], the object whose true box it is,
            -1 for every other box.
        """
        copies = self.recipe.head.jitter
        frames, objects = truth.valid.shape
        numbers = random_numbers(seeds, _JITTER, frames_each, objects * copies * 4).to(boxes.device)
        moves = (2 * numbers - 1).reshape(frames, objects, copies, 4) * self.recipe.head.jitter_reach
        size = (truth.boxes[..., 2:] - truth.boxes[..., :2]).repeat(1, 1, 2)
        moved = truth.boxes[:, :, None] + moves * size[:, :, None]
        wanted = torch.cat([truth.boxes[:, :, None], moved], dim=2).reshape(frames, -1, 4)
        known = truth.valid.repeat_interleave(1 + copies, dim=1)
        wanted = torch.where(known[..., None], clip_boxes(wanted, image_size), wanted)
        known = known & (wanted[..., 2:] > wanted[..., :2]).all(-1)
        own = torch.full((frames, objects, 1 + copies), -1, device=boxes.device)
        own[:, :, 0] = torch.arange(objects, device=boxes.device)
        own = torch.where(known, own.flatten(1), own.new_tensor(-1))
        own = torch.cat([own.new_full(valid.shape, -1), own], dim=1)
        return torch.cat([boxes, wanted], dim=1), torch.cat([valid, known], dim=1), own

    def _head(
        self, pooled: Tensor, reference: Tensor | None, rows_valid: Tensor, samples: int
    ) -> tuple[Tensor, Tensor]:
        """Class logits and deltas of every box of every key frame, sample by sample."""
        key = pooled.reshape(samples, -1, *pooled.shape[2:])
        rows = None if reference is None else reference.reshape(samples, -1, *reference.shape[2:])
        features = self.detector.head.learn(key, rows, rows_valid.reshape(samples, -1))
        logits, deltas = self.detector.predictor(features)
        return logits, deltas

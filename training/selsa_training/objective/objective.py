"""The detector and its losses as one module, so that a data-parallel wrapper sees a single forward."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import torch
from torch import Tensor, nn

from selsa_training.config import ProposalConfig
from selsa_training.model.backbone import STRIDE
from selsa_training.model.boxes import clip_boxes
from selsa_training.model.detector import SelsaDetector
from selsa_training.model.rpn import ProposalSelection
from selsa_training.objective.ground_truth import GroundTruth
from selsa_training.objective.losses import LossSum, head_losses, rpn_losses
from selsa_training.objective.matching import match_boxes
from selsa_training.objective.sampling import Choice, choose, random_numbers
from selsa_training.recipe.recipe import Recipe

LOSSES: Final = ("rpn_score", "rpn_box", "head_score", "head_box")
# What random numbers are for; see `random_numbers`.
_ANCHORS, _BOXES, _JITTER = 1, 2, 3

Total = Callable[[Tensor], Tensor]
"""Sums a tensor over all processes, and divides by how many they are."""


class DetectorObjective(nn.Module):
    """The losses of a batch of samples.

    Args:
        detector: what is trained.
        recipe: how.
        mean_over_processes: averages a tensor over all processes; the identity for one process.
        autocast: context in which the network runs; losses and boxes are float32 always.
    """

    def __init__(
        self,
        detector: SelsaDetector,
        recipe: Recipe,
        *,
        mean_over_processes: Total = lambda tensor: tensor,
        autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.recipe = recipe
        self._mean_over_processes = mean_over_processes
        self._autocast = autocast
        config = detector.config
        learning = ProposalConfig(
            candidates=config.proposals.candidates,
            nms_iou=config.proposals.nms_iou,
            proposals=recipe.rpn.proposals,
        )
        self.learning_proposals = ProposalSelection(config.anchors, learning, STRIDE)

    def forward(
        self, frames: Tensor, image_size: Tensor, truth: GroundTruth, seeds: Tensor, frames_each: int
    ) -> dict[str, Tensor]:
        """The four losses of `LOSSES`, each a mean over what all processes learn from in this step.

        Args:
            frames: uint8 [B * T, H, W, 3]; frame t of sample b is row b * T + t, key frames at t = 0.
            image_size: int64 [B * T, 2], (height, width) without padding.
            truth: objects of the B * T frames.
            seeds: int64 [B], on the CPU, one per sample.
            frames_each: T.
        """
        images = self.detector.normalise(frames, image_size)
        with self._autocast():
            features = self.detector.neck(self.detector.backbone(images))
            objectness, deltas = self.detector.rpn(features)
        keys = self._keys(len(frames), frames_each, frames.device)
        each = frames_each if self.recipe.sampling.key_frames == "all" else 1
        objectness, deltas = objectness.float(), deltas.float()
        rpn = self._rpn_losses(objectness[keys], deltas[keys], image_size[keys], truth[keys], seeds, each)
        with torch.no_grad():
            boxes, valid = self.learning_proposals(objectness[keys], deltas[keys], image_size[keys])
            boxes, valid = self._with_truth(boxes, valid, truth[keys], image_size[keys], seeds, each)
        match = match_boxes(boxes, valid, truth[keys], self.recipe.head.matching)
        choice = Choice(match.positive, match.negative)
        if count := self.recipe.head.samples:
            numbers = random_numbers(seeds, _BOXES, each, boxes.shape[1]).to(boxes.device)
            choice = choose(match, numbers, count=count, positive_share=self.recipe.head.positive_share)
        others = self._others(keys, len(frames))
        rows = None
        if len(others):
            with torch.no_grad():
                rows = self.detector.proposals(objectness[others], deltas[others], image_size[others])
        with self._autocast():
            pooled = self.detector.roi_features.learn(features[keys], boxes)
            reference = None if rows is None else self.detector.roi_features.learn(features[others], rows[0])
            logits, offsets = self._head(
                pooled, valid, reference, None if rows is None else rows[1], len(seeds)
            )
        classes = len(self.detector.config.classes)
        head = head_losses(
            logits.float().reshape(*boxes.shape[:2], -1),
            offsets.float().reshape(*boxes.shape[:2], classes, 4),
            boxes,
            match,
            choice,
            truth[keys],
            std=self.detector.config.head.box_std,
            beta=self.recipe.head.beta,
        )
        return dict(zip(LOSSES, (*self._means(rpn), *self._means(head)), strict=True))

    def _keys(self, frames: int, frames_each: int, device: torch.device) -> Tensor:
        step = 1 if self.recipe.sampling.key_frames == "all" else frames_each
        return torch.arange(0, frames, step, device=device)

    def _others(self, keys: Tensor, frames: int) -> Tensor:
        """Frames that are reference frames only; none where every frame is a key frame in turn."""
        other = torch.ones(frames, dtype=torch.bool, device=keys.device)
        other[keys] = False
        return other.nonzero()[:, 0]

    def _rpn_losses(
        self,
        objectness: Tensor,
        deltas: Tensor,
        image_size: Tensor,
        truth: GroundTruth,
        seeds: Tensor,
        frames_each: int,
    ) -> LossSum:
        frames, _, height, width = objectness.shape
        anchors = self.detector.proposals.grid(height, width)
        size = image_size.flip(1)[:, None, :]
        # Anchors that leave the frame are not learned from: mmdet's `allowed_border=0`.
        inside = (anchors[:, :2] >= 0).all(-1) & (anchors[None, :, 2:] < size).all(-1)
        match = match_boxes(anchors.expand(frames, -1, -1), inside, truth, self.recipe.rpn.matching)
        numbers = random_numbers(seeds, _ANCHORS, frames_each, len(anchors)).to(anchors.device)
        share = self.recipe.rpn.positive_share
        choice = choose(match, numbers, count=self.recipe.rpn.samples, positive_share=share)
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
    ) -> tuple[Tensor, Tensor]:
        """The proposals, then every true box and moved copies of it: early on no proposal overlaps one.

        Object by object at the end, so that the numbers of a frame's boxes do not depend on how many objects
        the batch is padded to.
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
        return torch.cat([boxes, wanted], dim=1), torch.cat([valid, known], dim=1)

    def _head(
        self,
        pooled: Tensor,
        valid: Tensor,
        reference: Tensor | None,
        reference_valid: Tensor | None,
        samples: int,
    ) -> tuple[Tensor, Tensor]:
        """Class logits and deltas of every box of every key frame, sample by sample."""
        key = pooled.reshape(samples, -1, *pooled.shape[2:])
        rows = None if reference is None else reference.reshape(samples, -1, *reference.shape[2:])
        rows_valid = valid if reference_valid is None else reference_valid
        logits, deltas = self.detector.predictor(
            self.detector.head.learn(key, rows, rows_valid.reshape(samples, -1))
        )
        return logits, deltas

    def _means(self, sums: LossSum) -> tuple[Tensor, Tensor]:
        """Divided by the count of all processes: each process's gradient is then its share of the mean.

        The published code divides by its own process's count, which is the same number wherever samples fill
        up. Two processes here learn exactly what one with both batches learns.
        """
        score, box, count = sums
        average = self._mean_over_processes(count.detach().to(torch.float32)).clamp(min=1)
        return score / average, box / average

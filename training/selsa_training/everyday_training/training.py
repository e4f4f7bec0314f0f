"""Training of the SELSA stage and its keys, over cached proposals; the detector below stays frozen."""

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from selsa_training.everyday.detector import EverydayDetector
from selsa_training.everyday.stage import Rows
from selsa_training.everyday_training.cache import CachedClip

PositiveInt = Annotated[int, Field(gt=0)]


class TrainingRecipe(BaseModel):
    """How the stage is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: PositiveInt = 900
    keys: PositiveInt = 2
    references: PositiveInt = 14
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    # Shares of damaged references, and the chance of each share.
    damaged: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)
    damaged_chance: tuple[float, ...] = (0.3, 0.25, 0.3, 0.15)
    key_damaged_more: float = 0.3
    # Lower bound of a target's weight; a frame without objects would divide by zero.
    smallest_target: float = 0.05


def train_stage(
    detector: EverydayDetector,
    clips: Sequence[CachedClip],
    recipe: TrainingRecipe,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Train the stage and its keys in place.

    Args:
        detector: the frozen network with a new stage.
        clips: the network's outputs on the training clips.
        recipe: settings of the training.
        seed: the only source of randomness.
        say: gets the loss every 100 steps.
    """
    random = np.random.default_rng(seed)
    standardise(detector, clips)
    trained = [*detector.key.parameters(), *detector.stage.parameters()]
    for parameter in trained:
        parameter.requires_grad = True
    optimiser = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.learning_rate, total_steps=recipe.steps
    )
    chances = np.sqrt([len(clip.logits) for clip in clips])
    chances /= chances.sum()
    losses = []
    for step in range(recipe.steps):
        chosen = random.choice(len(clips), size=recipe.keys, p=chances)
        loss = torch.stack([_loss(detector, clips[index], recipe, random) for index in chosen]).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, recipe.gradient_norm)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % 100 == 0:
            say(f"step {step + 1}: loss {np.mean(losses[-100:]):.4f}")
    detector.requires_grad_(requires_grad=False)


def standardise(detector: EverydayDetector, clips: Sequence[CachedClip]) -> None:
    """Fix mean and standard deviation of the features: those of undamaged training proposals."""
    features = torch.cat([clip.features[:, 0][clip.valid[:, 0]] for clip in clips])
    detector.points.mean.copy_(features.mean(0))
    detector.points.std.copy_(features.std(0).clamp(min=1e-6))


def _loss(
    detector: EverydayDetector, clip: CachedClip, recipe: TrainingRecipe, random: np.random.Generator
) -> Tensor:
    """Loss of one key frame with references from the whole clip, some of them damaged."""
    length, variants = clip.logits.shape[:2]
    share = float(random.choice(recipe.damaged, p=recipe.damaged_chance))
    key = int(random.integers(length))
    damaged = random.random() < share + recipe.key_damaged_more
    variant = int(random.integers(1, variants)) if damaged else 0
    frames = torch.from_numpy(random.integers(length, size=recipe.references))
    spoiled = random.random(recipe.references) < share
    kinds = torch.from_numpy(random.integers(1, variants, size=recipe.references) * spoiled)
    rows = detector.config.stage.reference_proposals
    keys = detector.key(detector.points(clip.features[frames, kinds, :rows]))
    bank = Rows(
        keys.transpose(0, 1).flatten(1, 2)[None],
        clip.logits[frames, kinds, :rows].flatten(0, 1)[None],
        clip.valid[frames, kinds, :rows].flatten()[None],
    )
    logits, valid = clip.logits[key, variant][None], clip.valid[key, variant][None]
    features = detector.points(clip.features[key, variant][None])
    mixed = detector.stage(features, Rows(detector.key(features), logits, valid), bank)
    return quality_loss(mixed[0][valid[0]], clip.targets[key, variant][valid[0]], recipe.smallest_target)


def quality_loss(logits: Tensor, targets: Tensor, smallest: float) -> Tensor:
    """Cross-entropy with soft targets, weighted by each score's distance from its target.

    Args:
        logits: [N, 80].
        targets: [N, 80], scores.
        smallest: least weight of a proposal in the divisor.
    """
    distance = (logits.sigmoid() - targets).abs().detach()
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (distance * entropy).sum() / targets.amax(-1).clamp(min=smallest).sum()

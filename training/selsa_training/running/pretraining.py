"""Pretraining: without pretrained weights the backbone first learns to classify crops of the objects."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from selsa_training.data.records import DataSet
from selsa_training.model.detector import SelsaDetector
from selsa_training.recipe.recipe import OptimiserRecipe, Recipe, ScheduleRecipe
from selsa_training.running.loading import crop_batches
from selsa_training.running.optimiser import build_optimiser
from selsa_training.running.processes import Processes
from selsa_training.running.run_log import RunLog, training_bar
from selsa_training.running.schedule import rate_factor
from selsa_training.running.step import Stepper

WARM_UP: Final = 50
CLIP: Final = 5.0
SMOOTHING: Final = 0.05
LOG_EVERY: Final = 50


class _Classifier(nn.Module):
    """The backbone and a linear layer on its mean features."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, detector: SelsaDetector, classes: int, autocast: Callable[[], AbstractContextManager[None]]
    ):
        super().__init__()
        self.backbone = detector.backbone
        self.named = nn.Linear(detector.backbone.channels, classes)
        self.register_buffer("mean", detector.mean.clone())
        self.register_buffer("std", detector.std.clone())
        self._autocast = autocast

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of uint8 [N, h, w, 3]."""
        pixels = (images.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
        with self._autocast():
            features = self.backbone(pixels)
        logits: Tensor = self.named(features.float().mean((2, 3)))
        return logits


def pretrain_backbone(
    detector: SelsaDetector,
    data: DataSet,
    recipe: Recipe,
    processes: Processes,
    log: RunLog,
    *,
    autocast: Callable[[], AbstractContextManager[None]],
    workers: int,
) -> None:
    """Train the detector's backbone in place. Pretraining cannot resume: a stopped run starts it again.

    Raises:
        TrainingError: a loss is not a finite number.
    """
    part = recipe.pretraining
    model = _Classifier(detector, len(recipe.model.classes), autocast).to(processes.device).train()
    optimiser = build_optimiser(
        model,
        OptimiserRecipe(method="adamw", rate=part.rate, weight_decay=part.weight_decay, decay_all=False),
    )
    schedule = ScheduleRecipe(
        steps=part.steps, shape="cosine", warm_up=min(WARM_UP, part.steps), warm_up_from=0
    )
    stepper = Stepper(model, optimiser, clip=CLIP, scale=1.0, mean=processes.mean)
    learner = DistributedDataParallel(model) if processes.world > 1 else model
    with training_bar("pretraining", part.steps, quiet=not processes.first) as bar:
        for step, batch in enumerate(crop_batches(data, recipe, processes, workers=workers)):
            labels = batch.labels.to(processes.device)
            logits = learner(batch.images.to(processes.device))
            loss = functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
            stepper.learn({"named": loss}, step, batch.names)
            result = stepper.update(rate_factor(schedule, step, part.steps), step)
            if step % LOG_EVERY == LOG_EVERY - 1 or step + 1 == part.steps:
                right = processes.mean((logits.argmax(1) == labels).float().mean()).item()
                log.event("pretraining", done=step + 1, loss=result.loss, accuracy=right)
                bar(step + 1, f"loss {result.loss:.3f} accuracy {right:.2f}")

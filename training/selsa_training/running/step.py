"""One training step: losses, gradient, update."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from selsa_training.recipe.errors import TrainingError


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of a step, as means over all processes.

    Attributes:
        losses: by name.
        gradient_norm: before clipping; NaN if the step was skipped because float16 overflowed.
    """

    losses: dict[str, float]
    gradient_norm: float

    @property
    def loss(self) -> float:
        """The sum of the losses."""
        return sum(self.losses.values())


class Stepper:
    """Takes steps with one optimiser: `learn` for every part of a step, then `update`.

    Args:
        model: its parameters with a gradient are trained.
        optimiser: of these parameters.
        clip: largest norm of the gradient; 0: none.
        scale: factor of the loss before its gradient is taken.
        mean: averages a tensor over all processes.
        parts: forward passes per step; the gradient of a step is their mean.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: Optimizer,
        *,
        clip: float,
        scale: float,
        mean: Callable[[Tensor], Tensor],
        parts: int = 1,
    ) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = optimiser
        self._rates = [float(group["lr"]) for group in optimiser.param_groups]
        self._clip = clip
        self._scale = scale
        self._mean = mean
        self._parts = parts
        self._losses: dict[str, float] = {}
        self._samples: list[str] = []

    def learn(self, losses: dict[str, Tensor], step: int, names: Sequence[str]) -> None:
        """Add the gradient of one part.

        Raises:
            TrainingError: a loss is not a finite number; names the step and the samples.
        """
        values = self._mean(torch.stack([value.detach().float() for value in losses.values()])).tolist()
        result = dict(zip(losses, values, strict=True))
        if not all(map(math.isfinite, values)):
            shown = ", ".join(f"{name} {value:g}" for name, value in result.items())
            raise TrainingError(f"step {step}: the loss is not finite ({shown}); samples: {'; '.join(names)}")
        self._losses = {name: self._losses.get(name, 0.0) + v / self._parts for name, v in result.items()}
        self._samples += names
        total: Tensor = torch.stack(list(losses.values())).sum() * (self._scale / self._parts)
        total.backward()  # type: ignore[no-untyped-call]

    def update(self, factor: float, step: int) -> StepResult:
        """Take one step with the gradient of all parts, at `factor` of the optimiser's rate.

        Raises:
            TrainingError: the gradient is not finite and float16 is not the reason.
        """
        norm = self._unscale_and_clip()
        if math.isfinite(norm):
            for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            self._optimiser.step()
        elif self._scale == 1:
            raise TrainingError(
                f"step {step}: the gradient is not finite; samples: {'; '.join(self._samples)}"
            )
        self._optimiser.zero_grad(set_to_none=True)
        losses, self._losses, self._samples = self._losses, {}, []
        return StepResult(losses, norm)

    def _unscale_and_clip(self) -> float:
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self._scale != 1:
            torch._foreach_mul_(gradients, 1 / self._scale)
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._clip:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self._clip, norm)
        value = float(norm)
        return value if math.isfinite(value) else math.nan

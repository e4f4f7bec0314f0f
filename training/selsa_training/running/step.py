"""One training step: losses, gradient, update."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from selsa_training.recipe.errors import NonFiniteError


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step says of itself, means over all processes: the losses by name, and the gradient's norm
    before clipping (NaN where the step was left out because float16 overflowed)."""

    losses: dict[str, float]
    gradient_norm: float

    @property
    def loss(self) -> float:
        """The sum of the losses."""
        return sum(self.losses.values())


class Stepper:
    """Takes steps with one optimiser.

    Args:
        parameters: that are trained.
        optimiser: of them.
        clip: largest norm of the gradient; 0: none.
        scale: what the loss is multiplied by before its gradient is taken.
        mean: averages a tensor over all processes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: Optimizer,
        *,
        clip: float,
        scale: float,
        mean: Callable[[Tensor], Tensor],
    ) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = optimiser
        self._rates = [float(group["lr"]) for group in optimiser.param_groups]
        self._clip = clip
        self._scale = scale
        self._mean = mean

    def __call__(
        self, losses: dict[str, Tensor], factor: float, step: int, names: Sequence[str]
    ) -> StepResult:
        """Step down the sum of the losses, at `factor` of the optimiser's rate.

        Raises:
            NonFiniteError: a loss is not a finite number; names the step and the samples.
        """
        values = self._mean(torch.stack([value.detach().float() for value in losses.values()])).tolist()
        result = dict(zip(losses, values, strict=True))
        if not all(map(math.isfinite, values)):
            shown = ", ".join(f"{name} {value:g}" for name, value in result.items())
            raise NonFiniteError(
                f"step {step}: the loss is not finite ({shown}); samples: {'; '.join(names)}"
            )
        self._optimiser.zero_grad(set_to_none=True)
        total: Tensor = torch.stack(list(losses.values())).sum() * self._scale
        total.backward()  # type: ignore[no-untyped-call]
        norm = self._unscale_and_clip()
        if math.isfinite(norm):
            for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            self._optimiser.step()
        elif self._scale == 1:
            raise NonFiniteError(f"step {step}: the gradient is not finite; samples: {'; '.join(names)}")
        return StepResult(result, norm)

    def _unscale_and_clip(self) -> float:
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self._scale != 1:
            torch._foreach_mul_(gradients, 1 / self._scale)
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._clip:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self._clip, norm)
        value = float(norm)
        return value if math.isfinite(value) else math.nan

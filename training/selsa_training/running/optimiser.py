"""The optimiser of a recipe, and the moving average of the weights."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from selsa_training.recipe.recipe import OptimiserRecipe


def build_optimiser(model: nn.Module, recipe: OptimiserRecipe) -> Optimizer:
    """An optimiser of all trainable parameters, in groups of equal rate and decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = recipe.rate * _share(name, parameter, recipe.fan_in)
            # Vectors and numbers are biases, and the scales of norms.
            decays = recipe.decay_all or parameter.ndim > 1
            groups.setdefault((rate, recipe.weight_decay if decays else 0.0), []).append(parameter)
    described = [
        {"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()
    ]
    if recipe.method == "adamw":
        return AdamW(described, lr=recipe.rate, betas=(recipe.momentum, 0.999))
    return SGD(described, lr=recipe.rate, momentum=recipe.momentum)


def _share(name: str, parameter: nn.Parameter, fan_in: int) -> float:
    """Share of the rate; 1 for the backbone's layers, because norms cancel the size of their weights."""
    if not fan_in or parameter.ndim < 2 or name.startswith("backbone."):
        return 1.0
    return min(1.0, fan_in / math.prod(parameter.shape[1:]))


class WeightAverage:
    """An exponential moving average of a model's floating point tensors, statistics included.

    The decay rises to `decay` over the first steps, so that the average forgets the random initial weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Add the weights after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = [], []
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                mine.append(self.tensors[name])
                theirs.append(tensor)
            else:
                self.tensors[name].copy_(tensor)
        torch._foreach_lerp_(mine, theirs, 1 - decay)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from the tensors of an earlier average."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

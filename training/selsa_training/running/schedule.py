"""The learning rate as a function of the step."""

import math

from selsa_training.recipe.recipe import ScheduleRecipe


def total_steps(schedule: ScheduleRecipe, epoch_steps: int) -> int:
    """Steps of the whole training, if an epoch has `epoch_steps`."""
    return schedule.steps or schedule.epochs * epoch_steps


def rate_factor(schedule: ScheduleRecipe, step: int, epoch_steps: int) -> float:
    """Factor of the learning rate at a step (counted from 0).

    Warm-up multiplies the factor of the schedule. Source: mmcv 1.7 `StepLrUpdaterHook`, `warmup="linear"`.
    """
    if schedule.shape == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * step / total_steps(schedule, epoch_steps)))
    else:
        factor = 0.1 ** sum(step // epoch_steps >= drop for drop in schedule.drops)
    if step < schedule.warm_up:
        factor *= 1 - (1 - step / schedule.warm_up) * (1 - schedule.warm_up_from)
    return factor

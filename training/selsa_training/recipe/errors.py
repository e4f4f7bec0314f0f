"""Errors before and during a training run.

TrainingError
├── RecipeError       the recipe is not allowed or does not fit the data
├── RunError          the run's folder is in use, damaged, or belongs to another recipe
└── NonFiniteError    the loss is not finite; the message names the step and the samples
"""


class TrainingError(Exception):
    """Base of all errors that end a training run."""


class RecipeError(TrainingError):
    """The recipe is not allowed, or does not fit the data."""


class RunError(TrainingError):
    """The folder of the run cannot be used."""


class NonFiniteError(TrainingError):
    """The loss is not a finite number."""

"""Errors before and during a training run."""


class TrainingError(Exception):
    """Base of all errors that end a training run."""


class RecipeError(TrainingError):
    """The recipe is not allowed, or does not fit the data."""


class RunError(TrainingError):
    """The folder of the run is in use, damaged, or belongs to another recipe."""


class NonFiniteError(TrainingError):
    """The loss is not a finite number; the message names the step and the samples."""

"""What can be wrong with a training run before and while it runs.

TrainingError
├── RecipeError       the recipe, or how it fits the data
├── RunError          the run's folder: taken, damaged, of another recipe
└── NonFiniteError    the loss is no number; says at which step and on which samples
"""


class TrainingError(Exception):
    """Anything that keeps a training run from going on."""


class RecipeError(TrainingError):
    """The recipe is not allowed, or does not fit the data."""


class RunError(TrainingError):
    """The folder of the run cannot be used."""


class NonFiniteError(TrainingError):
    """The loss is not a finite number."""

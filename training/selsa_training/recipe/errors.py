"""The error of a training run."""


class TrainingError(Exception):
    """The recipe is not allowed, the run's folder cannot be used, or the loss is not finite.

    The message is one sentence for the person at the command line.
    """

"""Errors of an evaluation.

    EvaluationError          also: an option that does not go with another, or a file that cannot be written
    ├── UnusableModelError   there is no checkpoint or bundle, or it cannot run as asked
    └── ClassesDifferError   model and data set do not have the same classes

Faults inside a checkpoint, a bundle or a data set raise their own errors. The message is one
sentence for the person at the command line.
"""


class EvaluationError(Exception):
    """Base of what can go wrong between a model, a data set and their scores."""


class UnusableModelError(EvaluationError):
    """No checkpoint or bundle is at the path, or it cannot run as asked."""


class ClassesDifferError(EvaluationError):
    """Model and data set do not have the same classes; the message names the difference."""

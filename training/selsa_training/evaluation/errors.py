"""Errors of an evaluation.

    EvaluationError          options that exclude each other, or a file that cannot be written
    ├── UnusableModelError   there is no checkpoint or bundle, or it cannot run with these options
    └── ClassesDifferError   model and data set do not have the same classes

Faults inside a checkpoint, a bundle or a data set raise their own errors. The message is one
sentence for the person at the command line.
"""


class EvaluationError(Exception):
    """Base of the errors of an evaluation."""


class UnusableModelError(EvaluationError):
    """The path has no checkpoint or bundle, or the model cannot run with these options."""


class ClassesDifferError(EvaluationError):
    """Model and data set do not have the same classes; the message names the difference."""

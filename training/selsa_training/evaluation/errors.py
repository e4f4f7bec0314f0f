"""Errors of an evaluation. The message is one sentence for the person at the command line.

Faults inside a checkpoint, a bundle or a data set raise their own errors.
"""


class EvaluationError(Exception):
    """Base of the errors of an evaluation."""


class UnusableModelError(EvaluationError):
    """The path has no checkpoint or bundle, or the model cannot run with these options."""


class ClassesDifferError(EvaluationError):
    """Model and data set do not have the same classes; the message names the difference."""

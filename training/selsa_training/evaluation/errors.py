"""The error of an evaluation."""


class EvaluationError(Exception):
    """Options exclude each other or do not fit the model, its classes differ, or a file is not writable.

    The message is one sentence for the person at the command line. Faults inside a checkpoint, a bundle or a
    data set raise their own errors.
    """

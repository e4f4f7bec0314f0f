"""The error of the exporter."""


class ExportError(Exception):
    """Something cannot be exported, calibrated or measured, or differs from the model.

    The message is one sentence for the person at the command line.
    """

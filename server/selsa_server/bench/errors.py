"""The one error of measuring."""


class BenchError(Exception):
    """What was asked for cannot be measured, drawn or written; the message is for the person who asked."""

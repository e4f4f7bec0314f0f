"""Errors of the everyday model's training."""


class SourceError(Exception):
    """Weights, photographs or clips are missing, or not those that are pinned."""

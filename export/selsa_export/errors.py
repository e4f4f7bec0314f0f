"""Errors of the exporter.

ExportError
├── ParityFramesError   the frames to compare on cannot be read
└── ParityError         the engines do not compute what the model computes
"""

__all__ = ["ExportError", "ParityError", "ParityFramesError"]


class ExportError(Exception):
    """Base of what can go wrong between a checkpoint and its bundle."""


class ParityFramesError(ExportError):
    """The frames that the engines should be compared on cannot be read."""


class ParityError(ExportError):
    """The engines differ from the model by more than rounding explains; the bundle was not written."""

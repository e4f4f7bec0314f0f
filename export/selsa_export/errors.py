"""Errors of the exporter.

ExportError
├── ParityFramesError   the frames to compare on cannot be read
├── CalibrationError    the videos to calibrate on cannot be read, or show nothing
├── PrecisionError      a precision that was asked for cannot be made or measured here
└── ParityError         the engines do not compute what the model computes
"""


class ExportError(Exception):
    """Base of what can go wrong between a checkpoint and its bundle."""


class ParityFramesError(ExportError):
    """The frames that the engines should be compared on cannot be read."""


class ParityError(ExportError):
    """The engines differ from the model by more than rounding explains; the bundle was not written."""


class CalibrationError(ExportError):
    """The videos that int8 should be calibrated on cannot be read."""


class PrecisionError(ExportError):
    """A precision that was asked for cannot be made or measured here."""

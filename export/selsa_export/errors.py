"""Errors of the exporter."""


class ExportError(Exception):
    """Base of all errors of the exporter."""


class ParityFramesError(ExportError):
    """The frames for the comparison with torch cannot be read."""


class ParityError(ExportError):
    """The engines differ from the model by more than rounding explains; the bundle was not written."""


class CalibrationError(ExportError):
    """The videos for the int8 calibration cannot be read."""


class PrecisionError(ExportError):
    """A requested precision cannot be made or measured here."""
